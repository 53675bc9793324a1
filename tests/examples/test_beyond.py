"""What examples/beyond computes, in small: physics, gradients, and the same by hand."""

import numpy as np
import pytest

import tensorgrad as tg
from examples.beyond import cartpole, karate, maml, neural_ode
from examples.beyond.adjoint import flow, solve
from tensorgrad.testing import check_grads


def test_pole_and_cart_move_by_the_equations_of_lagrange():
    rng = np.random.default_rng(0)
    angle, spin, force = rng.normal(size=(3, 50))
    a, turn = cartpole.accelerations(angle, spin, force)
    total, moment = 1.0 + 0.1, 0.1 * 0.5  # a rod of length 2l turns about its end: 4/3 m l²
    np.testing.assert_allclose(
        total * a + moment * (turn * np.cos(angle) - spin**2 * np.sin(angle)), force, rtol=1e-12
    )
    np.testing.assert_allclose(
        4 / 3 * 0.5 * turn + a * np.cos(angle), 9.8 * np.sin(angle), rtol=1e-12
    )


def energy(state):
    """Kinetic and potential, of a cart of 1 kg and a rod of 0.1 kg and 1 m."""
    _, speed, angle, spin = state
    kinetic = 1.1 * speed**2 / 2 + 0.05 * speed * spin * np.cos(angle) + 0.1 * spin**2 / 6
    return kinetic + 0.1 * 9.8 * 0.5 * np.cos(angle)


def test_without_force_energy_is_kept_but_for_eulers_error(monkeypatch):
    monkeypatch.setattr(cartpole, "TAU", 1e-4)
    start = state = np.array([[0.0], [0.3], [0.2], [-0.5]])
    for _ in range(2000):
        state = cartpole.move(state, 0.0)
    assert abs(state[2, 0] - 0.2) > 0.02
    np.testing.assert_allclose(energy(state), energy(start), rtol=1e-4)


def test_an_episode_ends_where_the_pole_has_fallen_and_returns_are_discounted():
    states, rights, alive = cartpole.play(
        lambda s: np.full((len(s), 1), 99.0), 3, np.random.default_rng(0)
    )
    assert rights[alive].all()
    assert (alive.sum(axis=0) >= 8).all()
    assert (alive.sum(axis=0) <= 11).all()  # always pushed to the right: 8 to 10 in Gymnasium
    assert np.abs(states[alive][:, 2]).max() < np.radians(12)
    lone = np.zeros((500, 1), bool)
    lone[:3] = True
    np.testing.assert_allclose(cartpole.to_come(lone)[:4, 0], [2.9701, 1.99, 1, 0])


def test_cartpole_by_hand_comes_to_the_same_weights():
    rng = np.random.default_rng(3)
    policy, baseline = cartpole.network(rng), cartpole.network(rng)
    cartpole.train(policy, baseline, 3, rng, n=4)
    for model, weights in zip((policy, baseline), cartpole.cartpole.by_hand(3, epochs=3, n=4)):
        for p, w in zip(model.parameters(), weights):
            np.testing.assert_allclose(p.data, w, rtol=1e-3, atol=1e-5)


def test_the_club_has_78_friendships_and_its_propagation_is_that_of_kipf_and_welling():
    pairs = karate.edges()
    assert pairs.shape == (78, 2)
    assert len({frozenset(pair) for pair in pairs.tolist()}) == 78
    assert np.bincount(pairs.ravel())[[0, 11, 32, 33]].tolist() == [16, 1, 12, 17]
    a = np.eye(34)
    for i, j in pairs:
        a[i, j] = a[j, i] = 1
    root = np.diag(a.sum(axis=1) ** -0.5)
    np.testing.assert_allclose(karate.propagation(), root @ a @ root, rtol=1e-6)
    assert karate.CLUB.sum() == 17


def test_the_graph_convolution_by_hand_comes_to_the_same_weights():
    model = karate.network(0)
    karate.train(model, 20)
    for p, w in zip(model.parameters(), karate.karate.by_hand(0, epochs=20)):
        np.testing.assert_allclose(p.data, w, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_network_is_right_about_all_members_but_one_as_zacharys_cut_is(seed):
    thought = karate.train(karate.network(seed), 200)
    assert np.flatnonzero((thought[-1] > 0.5) != karate.CLUB).tolist() == [8]  # member 9


def test_the_adjoint_is_the_gradient_of_the_steps_and_closer_the_smaller_they_are():
    rng = np.random.default_rng(0)
    theta = tuple(p.data for p in neural_ode.start(rng, neurons=5))
    y = rng.normal(size=(3, 2))

    def end(theta, y, way, steps):
        return np.sum(way(neural_ode.network, y, theta, 1 / steps, steps) ** 2)

    errors = []
    for steps in (5, 10):
        ours, plain = (tg.grad(end, argnums=(0, 1))(theta, y, way, steps) for way in (flow, solve))
        pairs = zip((*ours[0], ours[1]), (*plain[0], plain[1]))
        errors.append(max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs))
    assert errors[0] < 1e-3
    assert errors[1] < errors[0] / 10  # of fourth order: 16 in the limit


def test_backpropagation_through_the_solver_agrees_with_finite_differences():
    theta = tuple(p.data for p in neural_ode.start(np.random.default_rng(1), neurons=3))
    end = lambda y: np.sum(solve(neural_ode.network, y, theta, 0.1, 3))
    check_grads(end, np.array([0.5, -1.0]))


def test_memory_of_the_adjoint_does_not_grow_with_the_steps():
    theta = tuple(p.data for p in neural_ode.start(np.random.default_rng(0), neurons=4))
    (_, few), (_, many) = (neural_ode.cost_of(flow, theta, steps) for steps in (5, 20))
    assert many < 1.2 * few
    (_, few), (_, many) = (neural_ode.cost_of(solve, theta, steps) for steps in (5, 20))
    assert many > 3 * few


def test_the_gradient_of_maml_agrees_with_finite_differences_through_the_update():
    rng = np.random.default_rng(0)
    theta = [rng.normal(size=p.shape) / 3 for p in maml.start(rng)]
    x, y = (a.astype(float) for a in maml.tasks(3, 10, rng))
    direction = [rng.normal(size=p.shape) for p in theta]
    along = lambda t: maml.error_after([p + t * d for p, d in zip(theta, direction)], x, y)
    numerical = (along(1e-6) - along(-1e-6)) / 2e-6
    gradients = {
        constant: tg.grad(maml.error_after)(theta, x, y, constant) for constant in (False, True)
    }
    slopes = {
        key: sum(np.sum(g * d) for g, d in zip(gs, direction)) for key, gs in gradients.items()
    }
    np.testing.assert_allclose(slopes[False], numerical, rtol=1e-5)
    assert abs(slopes[True] / numerical - 1) > 1e-3  # it leaves a part out


def test_the_mean_over_tasks_is_that_of_one_after_the_other():
    rng = np.random.default_rng(0)
    theta, (x, y) = [p.data for p in maml.start(rng)], maml.tasks(4, 10, rng)
    each = []
    for a, b in zip(x, y):
        gradient = tg.grad(maml.error)(theta, a[:5], b[:5])
        fitted = [p - 0.01 * g for p, g in zip(theta, gradient)]
        each.append(maml.error(fitted, a[5:], b[5:]))
    np.testing.assert_allclose(maml.error_after(theta, x, y), np.mean(each), rtol=1e-5)
