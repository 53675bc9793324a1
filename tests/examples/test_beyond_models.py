"""What the models of examples/beyond/ are made of: densities, losses and gradients."""

import os
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from examples.beyond import autoencoder, density, flow, gan, pmi, vae, words
from examples.by_hand import autoencoder as by_hand
from tensorgrad import Value, nn
from tensorgrad.nn.functional import quadratic

close = np.testing.assert_allclose

needs_mnist = pytest.mark.skipif(
    not any(Path(os.environ.get("TENSORGRAD_DATA", "nowhere"), "mnist").glob("*idx3*")),
    reason="needs MNIST in $TENSORGRAD_DATA/mnist",
)


def rng(seed=0):
    return np.random.default_rng(seed)


def is_the_mean_of(expected, draws):
    """Within four standard errors."""
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(np.mean(draws, axis=0) - expected) < 4 * error)


# The autoencoder.


def test_the_autoencoders_gradients_by_hand_are_the_engines():
    model, x = autoencoder.autoencoder(rng()).to(np.float64), rng(1).random((5, 784))
    quadratic(model(x), x).backward()
    parameters = [p.data for p in model.parameters()]
    for p, found in zip(model.parameters(), by_hand.gradients(parameters, x)):
        close(found, p.grad, rtol=1e-5, atol=1e-12)


@needs_mnist
def test_the_autoencoders_weights_after_three_steps_are_those_by_hand():
    x = tg.data.mnist().x_train[:600]
    model = autoencoder.train(0, 1, x)
    for p, found in zip(model.parameters(), by_hand.train(0, 1, 600)):
        close(found, p.data, atol=2e-5)


def test_pca_gives_back_what_lies_in_a_plane_of_as_many_dimensions():
    x = rng().random((50, 3)) @ rng(1).random((3, 20)) + 1
    close(autoencoder.pca(x, 3)(x), x)
    left_out = np.linalg.eigvalsh(np.cov(x.T, bias=True))[:-2].sum()
    close(autoencoder.squared_error(x, autoencoder.pca(x, 2)(x)), left_out, rtol=1e-6)


# The variational autoencoder.


def codes_alone(dimensions, seed=0):
    """A VAE whose images are codes: what is given to the encoder is mean and log variance."""
    model = vae.VAE(dimensions, 1, rng(seed))
    model.encode, model.decode = nn.Identity(), nn.Identity()
    return model


def test_kl_from_the_standard_normal_is_what_draws_say():
    mean, log_variance = np.array([[0.5, -1.0]]), np.array([[-1.0, 0.5]])
    z = mean + np.exp(log_variance / 2) * rng().standard_normal((100_000, 2))
    log_q = -((z - mean) ** 2) / np.exp(log_variance) / 2 - log_variance / 2
    is_the_mean_of(vae.kl(mean, log_variance)[0], np.sum(log_q + z**2 / 2, axis=1))
    close(vae.kl(np.zeros((1, 3)), np.zeros((1, 3))), 0)


def test_codes_are_drawn_from_the_distribution_that_the_encoder_says():
    asked = np.tile([2.0, -1.0, 0.0, 1.0], (50_000, 1))
    z, mean, log_variance = codes_alone(2)(asked)
    assert mean.shape == log_variance.shape == z.shape
    is_the_mean_of([2, -1], z)
    is_the_mean_of(np.exp([0, 1]), (z - mean) ** 2)


def test_gradients_go_through_the_draw_to_mean_and_deviation():
    asked = Value(np.tile([2.0, -1.0, 0.0, 1.0], (100_000, 1)))
    z, *_ = codes_alone(2)(asked)
    np.sum(z**2).backward()  # the mean of z² is mean² + variance
    is_the_mean_of([4, -2, 1, np.e], asked.grad)


def test_the_bound_of_an_image_of_which_nothing_is_known_is_a_bit_a_pixel():
    x = vae.binary(np.full((4, 784), 0.5), None, rng())[0]
    assert set(np.unique(x)) == {0, 1}
    nothing = np.zeros((4, 784)), np.zeros((4, 2)), np.zeros((4, 2))
    close(vae.negative_elbo(nothing, x), 784 * np.log(2))


# The flow.


def a_flow(layers=4):
    """Weights of N(0, 1/4): it bends a lot."""
    model, draws = flow.Flow(layers, rng()), rng(1)
    for p in model.parameters():
        p.data = draws.normal(0, 0.5, p.shape)
    return model


def test_the_log_determinant_of_a_flow_is_that_of_its_jacobian():
    model = a_flow()
    for point in rng().normal(size=(5, 2)):
        assert abs(model(point[None])[1].item() - flow.log_det(model, point)) < 1e-10


def test_a_flow_goes_back_to_where_it_came_from():
    model, x = a_flow(), rng().normal(size=(20, 2))
    close(model.inverse(model(x)[0]).data, x, atol=1e-8)


def test_the_density_of_a_flow_integrates_to_one():
    model, cells = a_flow(2), density.grid(20.0, 400)
    with tg.no_grad():
        total = np.exp(model.log_density(cells).data).sum() * (40 / 400) ** 2
    assert abs(total - 1) < 0.01


def test_a_kernel_density_is_the_mean_of_normal_densities():
    x, centres = rng().normal(size=(7, 2)), rng(1).normal(size=(3, 2))
    squares = np.sum((x[:, None] - centres) ** 2, axis=2)
    direct = np.mean(np.exp(-squares / 2 / 0.25) / (2 * np.pi * 0.25), axis=1)
    close(density.kernels(x, centres, 0.5), np.log(direct))


# The GAN.


def test_what_tells_apart_teaches_the_discriminator_alone():
    make, tell = gan.generator(rng()), gan.discriminator(rng())
    gan.told_apart(make, tell, rng().random((8, 784), dtype=np.float32), rng()).backward()
    assert all(p.grad is None for p in make.parameters())
    assert all(np.abs(p.grad).max() > 0 for p in tell.parameters())


def test_the_generator_learns_through_the_discriminator():
    make, tell = gan.generator(rng()), gan.discriminator(rng()).eval()
    gan.found_out(make, tell, 8, rng()).backward()
    assert all(p.grad is not None for p in make.parameters())
    assert np.abs(make[0].weight.grad).max() > 0


def test_a_copy_is_nearest_to_what_it_is_a_copy_of():
    x = rng().random((30, 784))
    found, distance = gan.nearest(x[[7, 3]], x)
    close(found, x[[7, 3]])
    close(distance, 0, atol=1e-6)


# Word vectors.


def test_shifted_pointwise_information_is_the_optimum_of_negative_sampling():
    counts = rng().integers(1, 9, (4, 6)).astype(float)
    z = pmi.pmi(counts) - np.log(5)
    close(tg.grad(lambda z: pmi.objective(counts, z, 5))(z), 0, atol=1e-12)


def test_the_loss_of_drawn_pairs_has_the_objective_as_its_mean():
    pairs = rng().integers(0, [5, 5], (40, 2))
    model, draws = words.Vectors(5, 3, rng()).to(np.float64), rng(1)
    counts = pmi.counts_of(pairs, 5)
    z = model.word.weight.data @ model.context.weight.data.T
    losses = [model.loss(pairs, pairs, draws).item() for _ in range(400)]
    is_the_mean_of(pmi.objective(counts, z, words.NEGATIVE), losses)


def test_neighbours_are_pairs_of_words_no_further_apart_than_the_window():
    text = np.arange(100)
    pairs = words.neighbours(text, rng())
    assert set(map(tuple, pairs)) == set(map(tuple, pairs[:, ::-1]))
    assert np.abs(pairs[:, 0] - pairs[:, 1]).max() >= words.WINDOW


def test_no_word_is_written_over_another() -> None:
    places = np.random.default_rng(0).uniform(size=(40, 2)) * [4, 2]
    x, y = pmi.apart(places, ["word"] * 40, 0.2).T
    close(x, places[:, 0], rtol=0)
    beside = np.abs(np.subtract.outer(x, x)) < 0.45 * 0.2 * 4
    over = np.abs(np.subtract.outer(y, y)) < 0.2
    assert (beside & over).sum() == 40  # each with itself
