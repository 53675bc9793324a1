"""JAX with the whole step compiled: no eager library, so only for information."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.nn import log_softmax, relu, sigmoid


def shallow(weights, x, y, lr):
    def loss(parameters, x, y):
        a = x
        for W, b in parameters:
            a = sigmoid(a @ W + b)
        return 0.5 * jnp.sum((a - y) ** 2) / len(x)

    return training_step(loss, weights, x, y, lr)


def deep(weights, x, y, lr):
    def loss(parameters, x, y):
        a = x
        for W, b in parameters[:-1]:
            a = relu(a @ W + b)
        W, b = parameters[-1]
        return -jnp.mean(jnp.take_along_axis(log_softmax(a @ W + b), y[:, None], 1))

    return training_step(loss, weights, x, y, lr)


def convolutional(weights, x, y, lr):
    """With channels last, which XLA prefers on a CPU."""
    (W1, b1), (W2, b2), (W3, b3), last = weights
    W1, W2 = (W.transpose(2, 3, 1, 0) for W in (W1, W2))
    W3 = W3.reshape(W2.shape[3], 4, 4, -1).transpose(1, 2, 0, 3).reshape(W3.shape)
    axes = ("NHWC", "HWIO", "NHWC")

    def pooled(a):
        window = (1, 2, 2, 1)
        return jax.lax.reduce_window(a, -jnp.inf, jax.lax.max, window, window, "VALID")

    def loss(parameters, x, y):
        a = x
        for W, b in parameters[:2]:
            z = jax.lax.conv_general_dilated(a, W, (1, 1), "VALID", dimension_numbers=axes)
            a = pooled(relu(z + b))
        (W3, b3), (W4, b4) = parameters[2:]
        a = relu(a.reshape(len(x), -1) @ W3 + b3)
        return -jnp.mean(jnp.take_along_axis(log_softmax(a @ W4 + b4), y[:, None], 1))

    weights = [(W1, b1), (W2, b2), (W3, b3), last]
    return training_step(loss, weights, x.transpose(0, 2, 3, 1), y, lr)


def training_step(loss, weights, x, y, lr):
    parameters, x, y = jax.tree.map(jnp.asarray, (weights, x, y))

    @jax.jit
    def update(parameters, x, y):
        cost, gradients = jax.value_and_grad(loss)(parameters, x, y)
        return cost, jax.tree.map(lambda p, g: p - lr * g, parameters, gradients)

    def step():
        nonlocal parameters
        cost, parameters = jax.block_until_ready(update(parameters, x, y))
        return cost

    return step


def gradient(f, variables, constants):
    derivative = jax.grad(partial(f, jnp), argnums=tuple(range(len(variables))))
    return compiled(derivative, *variables, *constants)


def hessian(f, variables, constants):
    return compiled(jax.hessian(partial(f, jnp)), *variables, *constants)


def hvp(f, variables, constants, tangents):
    def product(variables, tangents, *constants):
        gradient = jax.grad(lambda xs: f(jnp, *xs, *constants))
        return jax.jvp(gradient, (variables,), (tangents,))[1]

    return compiled(product, variables, tangents, *constants)


def jacobian(f, variables, constants):
    return compiled(jax.jacrev(partial(f, jnp)), *variables, *constants)


def compiled(function, *args):
    jax.config.update("jax_enable_x64", True)
    args = jax.tree.map(jnp.asarray, args)
    function = jax.jit(function)
    return lambda: jax.block_until_ready(function(*args))
