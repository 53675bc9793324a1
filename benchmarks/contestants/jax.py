"""JAX with the whole step compiled: no eager library, so only for information."""

from functools import partial
from itertools import cycle

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_softmax, relu, sigmoid


def shallow(weights, batches, lr):
    def loss(parameters, x, y):
        a = x
        for W, b in parameters:
            a = sigmoid(a @ W + b)
        return 0.5 * jnp.sum((a - y) ** 2) / len(x)

    return stepped(loss, weights, descent(lr), batches)


def deep(weights, batches, lr):
    def loss(parameters, x, y):
        a = x
        for W, b in parameters[:-1]:
            a = relu(a @ W + b)
        W, b = parameters[-1]
        return -jnp.mean(jnp.take_along_axis(log_softmax(a @ W + b), y[:, None], 1))

    return stepped(loss, weights, descent(lr), batches)


def convolutional(weights, batches, lr):
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
    batches = [(x.transpose(0, 2, 3, 1), y) for x, y in batches]
    return stepped(loss, weights, descent(lr), batches)


def lstm(weights, batches, lr):
    def loss(P, x, y):
        def cell(state, a):
            h, c = state
            i, f, g, o = jnp.split(a + h @ P["lstm.weight_hh_l0"].T, 4, 1)
            c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
            h = sigmoid(o) * jnp.tanh(c)
            return (h, c), None

        inputs = x @ P["lstm.weight_ih_l0"].T + P["lstm.bias_ih_l0"] + P["lstm.bias_hh_l0"]
        zeros = jnp.zeros((len(x), P["lstm.weight_hh_l0"].shape[1]))
        (h, _), _ = jax.lax.scan(cell, (zeros, zeros), inputs.transpose(1, 0, 2))
        z = h @ P["answer.weight"].T + P["answer.bias"]
        return -jnp.mean(jnp.take_along_axis(log_softmax(z), y[:, None], 1))

    return stepped(loss, weights, adam(lr), batches)


def descent(lr):
    return 0, lambda p, g, state, t: (p - lr * g, state)


def adam(lr, betas=(0.9, 0.999), eps=1e-8, decay=0.0):
    """With decoupled weight decay. (How many arrays of state, and what becomes of all.)"""

    def update(p, g, state, t):
        m, v = (b * s + (1 - b) * x for b, s, x in zip(betas, state, (g, g * g), strict=True))
        a, b = (1 - beta**t for beta in betas)
        return p * (1 - lr * decay) - lr * (m / a) / (jnp.sqrt(v / b) + eps), (m, v)

    return 2, update


def stepped(loss, weights, rule, batches):
    parameters, batches = jax.tree.map(jnp.asarray, (weights, batches))
    leaves, structure = jax.tree.flatten(parameters)
    count, update = rule
    states = [tuple(jnp.zeros_like(p) for _ in range(count)) for p in leaves]
    batches, t = cycle(batches), 0

    @partial(jax.jit, donate_argnums=(0, 1))
    def advance(leaves, states, t, x, y):
        cost, gradients = jax.value_and_grad(loss)(structure.unflatten(leaves), x, y)
        each = zip(leaves, jax.tree.leaves(gradients), states, strict=True)
        new = [update(p, g, state, t) for p, g, state in each]
        return cost, [p for p, _ in new], [state for _, state in new]

    def step():
        nonlocal leaves, states, t
        t += 1
        made = advance(leaves, states, np.float32(t), *next(batches))
        cost, leaves, states = jax.block_until_ready(made)
        return cost

    return step


def function(f, arrays):
    arrays = cycle(map(jnp.asarray, arrays))
    compute = jax.jit(partial(f, jnp))
    return lambda: jax.block_until_ready(compute(next(arrays)))


def gradients(f, points, constants):
    jax.config.update("jax_enable_x64", True)
    points, constants = jax.tree.map(jnp.asarray, (points, constants))
    points, both = cycle(points), jax.jit(jax.value_and_grad(partial(f, jnp)))
    return lambda: jax.block_until_ready(both(*next(points), *constants))


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
