"""The array workshop: layers, cells, losses and optimizers with every gradient derived by hand.

It imports numpy and `lmsuite.errors` only, and works in float32 (training) and float64 (gradient
checks) alike. Sequences are time-major; arrays.py binds the letters.

* `parameter.Parameters(shapes, dtype, *, values=None, gradients=None)`: named views into two flat
  buffers, `.values` and `.gradients`; `parameters[name]`, `parameters.gradient(name)`, `.names`,
  `.shapes`, `.slices`, `len(parameters)`.
* A layer: `Layer.shapes(prefix, ...)` declares, `Layer(parameters, prefix)` binds views,
  `layer.initialise(rng)` fills them; `forward(...) -> (outputs, cache)`;
  `backward(d_outputs, cache) -> d_inputs` WRITES the gradients, but ADDS to that of an embedding's
  table, which several layers may share (zero it before each batch).
  - `layers.Embedding.shapes(prefix, V, E)`, `layers.Linear.shapes(prefix, D, outputs)`,
    `layers.TiedLinear.shapes(prefix, V)` with `TiedLinear(parameters, prefix, embedding)`.
  - `layers.Dropout(rate, variational=False)`: `mask = dropout.mask(rng, shape, dtype)`, then
    `forward(inputs, mask)`; mask None drops nothing.
  - `activations.ACTIVATIONS[name]`: tanh, relu, sigmoid, hardtanh, softsign.
* `cells.CELLS[name]`: elman, gru, lstm; `.shapes(prefix, D, H)`; a state is one array (S, B, H),
  S = `cell.states`; `cell.start(B)` is zeros.
  - `forward(inputs (T,B,D), state, resets=None) -> (hidden (T,B,H), final_state, cache)`;
    `backward(d_hidden, d_final_state | None, cache) -> (d_inputs, d_initial_state)`.
  - `forward_ids(ids (T,B), embedding, state, resets=None)`, `backward_ids(...) -> d_initial_state`:
    the same for embedded ids, faster for a small vocabulary.
  - `resets` (T, B) bool: where true, the state is zero *before* that step.
  - `backward` uses the cache up: call it once. It may overwrite the cache, never `d_hidden`.
    Until then the hidden vectors, which it needs, are not to be written to.
* `reader.Reader(cell, rows, embedding=None)`: the weights laid out once for many steps, as long as
  they do not change: `read(inputs (T,B,D), state) -> (hidden (T,B,H), final_state)`, `read_ids(ids
  (T,B), state)`, and `step(inputs (B,D), before, after)`, `step_ids(ids (B,), before, after)`,
  which fill `after`, whose `[0]` is the hidden vector (B, H).
* `threads.side_by_side(tasks)`: in threads, for numpy lets go of the interpreter.
* `losses.softmax_cross_entropy(logits (N,V), targets (N,), weights=None, impossible=ids) ->
  (loss, d_logits)`: weights None is the mean, a number weighs every row, an array (N,) each row;
  logits are overwritten. `losses.log_softmax(logits, impossible)`, `losses.target_log_probs(logits,
  targets, impossible)`, `losses.squared_error`, `losses.binary_cross_entropy`.
* `output.output_loss(layer, rows (N,D), targets, weight, impossible) -> (loss, d_rows)`: the output
  layer with its softmax_cross_entropy, forward and backward, some rows at a time.
* `optimizers.OPTIMIZERS[name](size, dtype, state=None)`: `.update(values, gradients, learning_rate,
  step)` (step from 1), `.state_arrays()`, class attribute `.learning_rate` as default;
  `clip_by_global_norm(gradients, limit) -> norm`, `squared_norm(slice)`, `add_penalty(values,
  gradients, l1, l2) -> penalty`.
* `schedules.SCHEDULES[name](warmup=0.0)`: `.factor(progress)` in [0, 1] of the peak rate,
  `.observe(validation_loss)`, `.state()`, `.restore(state)`.
* `memory.keep_freed_memory()`: to be called once by every process that trains; worth a third of a
  step, because large arrays are then made without page faults.
* `gradient_check.check_gradients(loss, values, gradients, ...)`: analytic against numeric.
"""
