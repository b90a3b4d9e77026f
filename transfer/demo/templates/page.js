"use strict";
(() => {
  const [drop, files, status, title, results, template] =
    ["drop", "files", "status", "results-title", "results", "card"].map((id) => document.getElementById(id));
  const mostBytes = Number(document.body.dataset.mostBytes);
  const counts = { all: 0, done: 0, failed: 0 };
  let last = Promise.resolve();
  let lastExplained = Promise.resolve();

  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  const percent = (chance) => {
    if (chance > 0.9995 && chance < 1) return "over 99.9 %";
    if (chance < 0.0005 && chance > 0) return "under 0.1 %";
    return `${(100 * chance).toFixed(1)} %`;
  };
  // Names come from files and folders: they are put in as text and never as HTML.
  const made = (tag, className, text = "") => {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return element;
  };

  const say = () => {
    const failed = counts.failed ? `, ${counts.failed} could not be used` : "";
    status.textContent = counts.done < counts.all
      ? `Looking at image ${counts.done + 1} of ${counts.all}`
      : `${counts.all} ${counts.all === 1 ? "image" : "images"} done${failed}.`;
  };

  const ask = async (question, file) => {
    if (file.size > mostBytes) throw new Error(`it has ${megabytes(file.size)}, more than the ${megabytes(mostBytes)} that are allowed`);
    let content, response;
    try {
      content = await file.arrayBuffer();
    } catch {
      throw new Error("the browser cannot read it; is it a folder?");
    }
    try {
      response = await fetch(question, { method: "POST", body: content, headers: { "Content-Type": "application/octet-stream" } });
    } catch {
      throw new Error("the demo does not answer; does it still run?");
    }
    const answer = await response.json().catch(() => ({ error: `the demo answered ${response.status} ${response.statusText}` }));
    if (!response.ok) throw new Error(answer.error);
    return answer;
  };

  const chanceOf = ({ name, probability }) => {
    const item = made("li", "");
    const bar = made("div", "bar");
    const filled = made("span", "");
    filled.style.width = `${100 * probability}%`;
    bar.append(filled);
    item.append(made("bdi", "", name), made("span", "", percent(probability)), bar);
    return item;
  };

  const nearestOf = ({ path, class: name, distance, picture }) => {
    const item = made("li", "");
    const image = made("img", "");
    image.src = picture;
    image.alt = `Training image of class ${name}`;
    const words = made("p", "");
    words.append(made("bdi", "class", name), made("span", "", `distance ${distance.toFixed(3)}`));
    const place = made("p", "path");
    place.append(made("bdi", "", path));
    item.append(image, words, place);
    return item;
  };

  const show = (card, file, answer) => {
    const part = (name) => card.querySelector(`.${name}`);
    part("class").textContent = answer.predicted;
    part("chance").textContent = percent(answer.probability);
    part("picture").src = answer.picture;
    part("picture").alt = `The picture ${file.name}`;
    part("chances").append(...answer.classes.map(chanceOf));
    part("likeness").textContent = answer.likeness;
    part("nearest").append(...answer.nearest.map(nearestOf));
    card.classList.toggle("unlike", answer.is_unlike);
    part("state").textContent = "";
    part("answer").hidden = false;
  };

  const explain = async (card, file) => {
    const why = card.querySelector(".why");
    const heat = card.querySelector(".heat");
    try {
      const answer = await ask("/explain", file);
      heat.src = answer.heat;
      if (answer.example !== null) {
        heat.alt = `Training image of class ${answer.predicted}`;
        why.textContent = `What speaks for ${answer.predicted}: the training image of this class that is nearest, ${answer.example}`;
        return;
      }
      heat.alt = `The picture in grey, coloured where it speaks for ${answer.predicted}`;
      why.textContent = answer.is_seen
        ? `What speaks for ${answer.predicted}: the brighter, the more`
        : `Nothing in the picture speaks for ${answer.predicted}`;
    } catch (problem) {
      heat.remove();
      why.textContent = `Cannot be explained: ${problem.message}`;
    }
  };

  const lookAt = async (card, file) => {
    card.querySelector(".state").textContent = "Looking at it";
    say();
    try {
      show(card, file, await ask("/predict", file));
      lastExplained = lastExplained.then(() => explain(card, file));
    } catch (problem) {
      card.classList.add("failed");
      card.querySelector(".state").textContent = `Cannot be used: ${problem.message}`;
      counts.failed += 1;
    }
    counts.done += 1;
    say();
  };

  const add = (chosen) => {
    for (const file of chosen) {
      const card = template.content.cloneNode(true).firstElementChild;
      card.querySelector(".name").textContent = file.name;
      results.append(card);
      counts.all += 1;
      last = last.then(() => lookAt(card, file));
    }
    title.hidden = counts.all === 0;
  };

  files.addEventListener("change", () => {
    add([...files.files]);
    files.value = "";
  });
  // Anywhere on the page: a picture dropped beside the frame would otherwise replace the page.
  addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    add([...event.dataTransfer.files]);
  });
})();
