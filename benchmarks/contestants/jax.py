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
