"""What examples/beyond computes, in small: physics, gradients, and the same by hand."""

import numpy as np
import pytest

from examples.beyond import cartpole, karate


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
