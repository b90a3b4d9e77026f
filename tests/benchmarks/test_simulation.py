"""The simulated map, compared with what can be worked out by hand."""

from collections import Counter

import numpy as np
import pytest

from benchmarks.scale_study import predicted_stages, simulation
from benchmarks.scale_study.predicted_stages import Measured, StageCosts, calibrate, predict
from benchmarks.scale_study.simulated_map import Costs, Trouble, play, simulate


@pytest.mark.parametrize(
    ("driver", "in_flight", "seconds"),
    [
        (0.0, 2, 10),
        # hidden behind the worker, but for the first batch sent and the last one taken
        (0.2, 2, 10 + 0.2),
        (0.2, 1, 10 * 1.2),  # the worker waits for each
    ],
)
def test_one_worker(driver, in_flight, seconds):
    assert simulate(10, 1, 1, Costs([1.0], driver), in_flight=in_flight) == pytest.approx(seconds)


def test_two_equal_workers():
    assert simulate(10, 2, 1, Costs([1.0], 0)) == simulate(10, 1, 2, Costs([1.0], 0)) == 5


@pytest.mark.parametrize(("driver", "a_worker"), [(0.02, 0), (0, 0.0002)])
def test_the_driver_is_the_limit(driver, a_worker):
    outcome = play(2000, 100, 1, Costs([1.0], driver, driver_a_worker=a_worker))
    assert outcome.busy == pytest.approx(2000 * 0.02)
    assert 40 <= outcome.seconds < 40 + 1


def test_a_lost_node():
    """At 2.5 the second of two nodes ends, which has two batches; the first does its own two before
    it takes these, one by one."""
    outcome = play(10, 2, 1, Costs([1.0], 0), Trouble(losses=[(2.5, 1)], is_replaced=False))
    assert outcome.seconds == 8
    assert outcome.begun == 10 + 1  # the lost one that was begun


def test_a_replaced_node():
    """Both lost ones are done from 4 to 5, each alone; two are left then, and both go to the first,
    whose end is known first."""
    outcome = play(10, 2, 1, Costs([1.0], 0, detect=0.5, restart=1), Trouble(losses=[(2.5, 1)]))
    assert (outcome.seconds, outcome.begun) == (7, 11)


def test_what_was_lost_is_done_alone_before_all_else():
    """Its worker has one batch at a time until it is done, so it waits for the driver after it."""
    costs = Costs([1.0], 0.2, detect=0, restart=0)
    assert simulate(4, 1, 1, costs, Trouble(losses=[(0.5, 0)])) == pytest.approx(
        0.5 + 2 * (0.1 + 1 + 0.1) + 0.1 + 2 + 0.1
    )


def test_what_was_lost_waits_for_an_idle_worker():
    """The first worker takes nothing from 1.1, when it has done one of its two, until 2.2, when the
    other is taken."""
    trouble = Trouble(losses=[(0.5, 1)], is_replaced=False)
    assert simulate(4, 2, 1, Costs([1.0], 0.2, detect=0), trouble) == pytest.approx(
        2.2 + 2 * (0.1 + 1 + 0.1)
    )


def test_what_is_lost_twice_is_done_image_by_image():
    trouble = Trouble(losses=[(0.5, 0), (1.0, 0)])
    outcome = play(1, 1, 1, Costs([1.2], 0, detect=0, restart=0), trouble, images=12)
    assert outcome.begun == 1 + 1 + 12
    assert outcome.seconds == pytest.approx(1.0 + 1.2)
    assert outcome.results == [1]


def test_a_node_that_ends_twice_brings_no_more_workers_than_it_had():
    costs = Costs([1.0], 0, detect=1, restart=1)
    once, twice = (
        simulate(60, 1, 2, costs, Trouble(losses=losses))
        for losses in ([(5, 0)], [(5, 0), (5.5, 0)])
    )
    assert once == twice


def test_nobody_is_left():
    with pytest.raises(RuntimeError, match="no worker is left, and 8 batches are not done"):
        simulate(10, 1, 1, Costs([1.0], 0), Trouble(losses=[(2.5, 0)], is_replaced=False))


def test_stragglers_cost_their_mean():
    many = simulate(20_000, 20, 1, Costs([1.0], 0), Trouble(slow_share=0.01, slow_factor=20))
    assert many == pytest.approx(1000 * (1 + 0.01 * 19), rel=0.05)


def test_a_slow_worker_gets_less():
    """Nine and a tenth of one: the others take what it does not."""
    assert simulate(
        9100, 10, 1, Costs([1.0], 0), Trouble(slow_workers=0.1, slow_factor=10)
    ) == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize(("copies", "seconds"), [(False, 200), (True, 8)])
def test_copies_shorten_the_end(copies, seconds):
    """Two batches go to each worker at once. The fast one has done its two at 2; the others count
    as slow after five seconds, which it notices at 6, and it does them one by one."""
    slow = Trouble(slow_workers=0.5, slow_factor=100, copies=copies)
    assert simulate(4, 2, 1, Costs([1.0], 0), slow) == seconds


@pytest.mark.parametrize("copies", [False, True])
def test_every_batch_once(copies):
    losses = [(at / 7, at % 10) for at in range(60)]
    trouble = Trouble(slow_share=0.05, slow_factor=8, losses=losses, copies=copies)
    outcome = play(3000, 10, 3, Costs([0.1, 0.2], 0.001, detect=0.3, restart=0.5), trouble)
    assert Counter(outcome.results) == {1: 3000}
    assert outcome.begun > 3000


def test_the_seed_decides():
    def seconds(seed: int) -> float:
        return simulate(
            500,
            7,
            1,
            Costs([0.1, 0.3, 0.4], 0.01),
            Trouble(slow_share=0.1, slow_factor=3),
            seed=seed,
        )

    assert seconds(0) == seconds(0) != seconds(1)


@pytest.mark.parametrize("stage", predicted_stages.MAPS)
def test_costs_are_found_from_two_runs_and_predict_others(stage):
    """A node that ends after a third of the only map of train leaves two thirds to one worker."""
    costs, rows = StageCosts(3.0, 2e-5, 4e-4, 5.0, 3.2e-4), 100
    runs = [
        Measured(
            images,
            predict(stage, costs, images, 2, rows),
            driver=1 + costs.driver * images,
            workers=4 + 3e-4 * images,
        )
        for images in (10_000, 40_000)
    ]
    found = calibrate(stage, *runs, nodes=2, shard_rows=rows)
    assert vars(found) == pytest.approx(vars(costs))
    seconds = predict(stage, found, 10**6, 2, rows)
    assert seconds == pytest.approx(3 + 20 + 200, rel=0.01)
    lossy = predict("extract", found, 10**6, 2, rows, is_lossy=True)
    assert lossy == pytest.approx(3 + 20 + 160 * (1 / 3 + 2 * 2 / 3) + 2 * 40, rel=0.02)


def test_losses_come_at_their_rate():
    losses = simulation.draw_losses(nodes=100, rate=2, until=36_000, seed=0)
    assert len(losses) == pytest.approx(100 * 2 * 10, rel=0.1)
    assert (
        losses == sorted(losses) == simulation.draw_losses(nodes=100, rate=2, until=36_000, seed=0)
    )
    assert np.unique([node for _, node in losses]).tolist() == list(range(100))
