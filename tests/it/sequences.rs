//! Recurrent layers and attention where two ways lead to one answer, and what they refuse.

use blockflow::engine::EngineError;
use blockflow::graph::{
    Attention, Cell, Direction, Heads, LinearAttention, Op, Recurrent, RotaryEmbedding, Scores,
};
use blockflow::types::Tensor;

use crate::engine_support::{bools, f32s, i32s, i64s, noise, run_op, values_f32};
use crate::graph_file::{floats, node, y_of};

const TIME: usize = 4;
const BATCH: usize = 2;
const INPUT: usize = 3;
const HIDDEN: usize = 5;

const CELLS: [Cell; 3] = [
    Cell::Rnn,
    Cell::Gru {
        linear_before_reset: true,
    },
    Cell::Lstm {
        input_forget: false,
    },
];

fn random(shape: &[usize], seed: u32) -> Tensor {
    f32s(shape, &noise(shape.iter().product(), seed))
}

fn recurrent(cell: Cell, direction: Direction) -> Recurrent {
    let functions = cell.functions().iter().copied();
    let activations = functions.map(blockflow::graph::CellFunction::Function);
    Recurrent {
        cell,
        direction,
        activations: activations
            .cycle()
            .take(cell.functions().len() * direction.count())
            .collect(),
        clip: None,
        batch_first: false,
        hidden_size: None,
    }
}

/// Inputs of a layer over `time` steps, of which the tensors of the batch are the same whatever the time.
fn layer(op: &Recurrent, time: usize, lengths: Option<&[i32]>) -> Vec<Option<Tensor>> {
    let (directions, rows) = (op.direction.count(), op.cell.gates() * HIDDEN);
    let (sequence, state) = if op.batch_first {
        ([BATCH, time, INPUT], [BATCH, directions, HIDDEN])
    } else {
        ([time, BATCH, INPUT], [directions, BATCH, HIDDEN])
    };
    let mut inputs = vec![
        Some(random(&sequence, 1)),
        Some(random(&[directions, rows, INPUT], 2)),
        Some(random(&[directions, rows, HIDDEN], 3)),
        Some(random(&[directions, 2 * rows], 4)),
        lengths.map(|lengths| i32s(&[lengths.len()], lengths)),
        Some(random(&state, 5)),
    ];
    if let Cell::Lstm { .. } = op.cell {
        inputs.push(Some(random(&state, 6)));
    }
    inputs
}

fn run_layer(op: &Recurrent, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, EngineError> {
    let x = inputs[0].as_ref().unwrap().shape().to_vec();
    let directions = op.direction.count();
    let sequence = if op.batch_first {
        [x[0], x[1], directions, HIDDEN]
    } else {
        [x[0], directions, x[1], HIDDEN]
    };
    let state = inputs[5].as_ref().unwrap().clone();
    let mut expected = vec![random(&sequence, 0), state.clone()];
    if let Cell::Lstm { .. } = op.cell {
        expected.push(state);
    }
    let op = Op::Recurrent(op.clone());
    let constant = |constant: bool| -> Vec<bool> {
        let weights = (1..=3).collect::<Vec<_>>();
        (0..inputs.len())
            .map(|input| constant && weights.contains(&input))
            .collect()
    };
    let computed = run_op(&op, inputs, &constant(false), &expected)?;
    let prepared = run_op(&op, inputs, &constant(true), &expected)?;
    assert_close("constant weights", &prepared, &computed);
    Ok(computed)
}

fn assert_close(what: &str, seen: &[Tensor], expected: &[Tensor]) {
    assert_eq!(seen.len(), expected.len(), "{what}");
    for (index, (seen, expected)) in seen.iter().zip(expected).enumerate() {
        assert_eq!(seen.shape(), expected.shape(), "{what}, output {index}");
        let (seen, expected) = (values_f32(seen), values_f32(expected));
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5;
        assert!(
            seen.iter().zip(&expected).all(close),
            "{what}, output {index}: {seen:?}, expected {expected:?}"
        );
    }
}

#[test]
fn a_fused_layer_computes_what_its_steps_do() {
    for cell in CELLS {
        for direction in [Direction::Forward, Direction::Reverse, Direction::Both] {
            for batch_first in [false, true] {
                let fused = Recurrent {
                    batch_first,
                    ..recurrent(cell, direction)
                };
                // No value comes near it, so that only the way of computing differs.
                let steps = Recurrent {
                    clip: Some(1e30),
                    ..fused.clone()
                };
                let inputs = layer(&fused, TIME, None);
                let what = format!("{cell:?} {direction:?} batch first {batch_first}");
                let expected = run_layer(&steps, &inputs).unwrap();
                assert_close(&what, &run_layer(&fused, &inputs).unwrap(), &expected);
            }
        }
    }
}

/// Takes the rows `range` of a tensor whose first dimension is the time.
fn part(tensor: &Tensor, range: std::ops::Range<usize>) -> Tensor {
    let rest: usize = tensor.shape()[1..].iter().product();
    let shape = [&[range.len()], &tensor.shape()[1..]].concat();
    f32s(
        &shape,
        &values_f32(tensor)[range.start * rest..range.end * rest],
    )
}

#[test]
fn a_shorter_sequence_ends_in_zeros_and_its_states_are_those_at_its_end() {
    for cell in CELLS {
        for direction in [Direction::Forward, Direction::Reverse, Direction::Both] {
            let op = recurrent(cell, direction);
            let what = format!("{cell:?} {direction:?}");
            let short = run_layer(&op, &layer(&op, TIME, Some(&[2, 2]))).unwrap();
            let mut inputs = layer(&op, TIME, None);
            inputs[0] = Some(part(inputs[0].as_ref().unwrap(), 0..2));
            let cut = run_layer(&op, &inputs).unwrap();
            assert_close(&what, &[part(&short[0], 0..2)], &cut[..1]);
            assert_close(&what, &short[1..], &cut[1..]);
            let after = values_f32(&part(&short[0], 2..TIME));
            assert!(after.iter().all(|&value| value == 0.0), "{what}: {after:?}");
        }
    }
}

#[test]
fn a_sequence_without_elements_ends_in_zeros() {
    for cell in CELLS {
        let op = recurrent(cell, Direction::Both);
        let outputs = run_layer(&op, &layer(&op, TIME, Some(&[0, 4]))).unwrap();
        for state in &outputs[1..] {
            let rows = values_f32(state);
            for direction in rows.chunks(BATCH * HIDDEN) {
                assert!(direction[..HIDDEN].iter().all(|&value| value == 0.0));
                assert!(direction[HIDDEN..].iter().all(|&value| value != 0.0));
            }
        }
    }
}

/// One element over one step: every gate of an LSTM gets 3, and no state.
#[test]
fn a_clip_bounds_what_goes_into_gates_and_not_the_cell() {
    let op = Recurrent {
        clip: Some(0.5),
        ..recurrent(CELLS[2], Direction::Forward)
    };
    let inputs = [
        f32s(&[1, 1, 1], &[3.0]),
        f32s(&[1, 4, 1], &[1.0; 4]),
        f32s(&[1, 4, 1], &[1.0; 4]),
        f32s(&[1, 8], &[0.0; 8]),
        i32s(&[1], &[1]),
        f32s(&[1, 1, 1], &[0.0]),
        f32s(&[1, 1, 1], &[2.0]),
    ];
    let one = f32s(&[1, 1, 1], &[0.0]);
    let expected = [f32s(&[1, 1, 1, 1], &[0.0]), one.clone(), one];
    let outputs = run_op(
        &Op::Recurrent(op),
        &inputs.map(Some),
        &[false; 7],
        &expected,
    )
    .unwrap();
    let gate = 1.0 / (1.0 + (-0.5_f32).exp());
    let cell = gate * 2.0 + gate * 0.5_f32.tanh();
    let hidden = f32s(&[1, 1, 1], &[gate * cell.tanh()]);
    assert_close(
        "clipped",
        &outputs[1..],
        &[hidden, f32s(&[1, 1, 1], &[cell])],
    );
}

#[test]
fn lengths_that_no_sequence_can_have_are_refused() {
    let op = recurrent(CELLS[2], Direction::Forward);
    for lengths in [&[4, 5][..], &[-1, 4], &[4], &[4, 4, 4]] {
        let error = run_layer(&op, &layer(&op, TIME, Some(lengths))).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(", expected 2 lengths of at most 4"),
            "{error}"
        );
    }
}

/// Runs attention over random tensors with a mask, and returns the result; `shown`: with the scores as an output.
fn attend(op: &Attention, mask: Option<&Tensor>, past: usize, shown: bool) -> Tensor {
    const KEYS: usize = 6;
    let heads = |count: usize, length: usize, seed: u32| match op.heads {
        Some(_) => random(&[BATCH, length, count * 4], seed),
        None => random(&[BATCH, count, length, 4], seed),
    };
    let (query, key_value) = op
        .heads
        .map_or((4, 2), |heads| (heads.query, heads.key_value));
    let mut inputs = vec![
        Some(heads(query, 3, 1)),
        Some(heads(key_value, KEYS - past, 2)),
        Some(heads(key_value, KEYS - past, 3)),
        mask.cloned(),
    ];
    if past > 0 {
        inputs.extend([4, 5].map(|seed| Some(random(&[BATCH, key_value, past, 4], seed))));
    }
    let present = random(&[BATCH, key_value, KEYS, 4], 0);
    let scores = random(&[BATCH, query, 3, KEYS], 0);
    let mut expected = vec![heads(query, 3, 1), present.clone(), present];
    if shown {
        expected.push(scores);
    }
    let constant = vec![false; inputs.len()];
    run_op(&Op::Attention(op.clone()), &inputs, &constant, &expected)
        .unwrap_or_else(|error| panic!("{op:?}: {error}"))
        .swap_remove(0)
}

#[test]
fn fused_attention_computes_what_its_steps_do() {
    let allowed: Vec<u8> = (0..18)
        .map(|place| u8::from(place % 6 == 0 || place % 5 != 1))
        .collect();
    let masks = [
        None,
        Some(bools(&[3, 6], &allowed)),
        Some(random(&[BATCH, 1, 1, 6], 7)),
        // Lacks the last column.
        Some(random(&[4, 3, 5], 8)),
    ];
    let grouped = Some(Heads {
        query: 4,
        key_value: 2,
    });
    for heads in [None, grouped] {
        for causal in [false, true] {
            for past in [0, 2] {
                for mask in &masks {
                    for scale in [None, Some(0.3)] {
                        let op = Attention {
                            heads,
                            causal,
                            scale,
                            softcap: None,
                            scores: Scores::Masked,
                            softmax_dtype: None,
                        };
                        let fused = attend(&op, mask.as_ref(), past, false);
                        let steps = attend(&op, mask.as_ref(), past, true);
                        assert_close(&format!("{op:?} past {past}"), &[fused], &[steps]);
                    }
                }
            }
        }
    }
}

#[test]
fn a_position_outside_of_the_cache_is_refused() {
    let op = Op::RotaryEmbedding(RotaryEmbedding {
        heads: None,
        size: None,
        interleaved: false,
    });
    for position in [7, -1, i64::MAX] {
        let inputs = [
            random(&[1, 2, 1, 4], 1),
            random(&[7, 2], 2),
            random(&[7, 2], 3),
            i64s(&[1, 1], &[position]),
        ];
        let expected = random(&[1, 2, 1, 4], 0);
        let result = run_op(&op, &inputs.map(Some), &[false; 4], &[expected]);
        assert!(
            matches!(result, Err(EngineError::Operator { .. })),
            "{position}: {result:?}"
        );
    }
}

#[test]
fn a_state_of_another_shape_is_refused() {
    let op = Op::LinearAttention(LinearAttention {
        heads: Heads {
            query: 2,
            key_value: 1,
        },
        scale: None,
        gated: false,
        delta: false,
    });
    let inputs = [
        random(&[1, 3, 8], 1),
        random(&[1, 3, 4], 2),
        random(&[1, 3, 4], 3),
        random(&[1, 1, 4, 3], 4),
    ];
    let expected = [random(&[1, 3, 8], 0), random(&[1, 1, 4, 4], 0)];
    let error = run_op(&op, &inputs.map(Some), &[false; 4], &expected).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("past state has shape [1, 1, 4, 3]"),
        "{error}"
    );
}

#[test]
fn sizes_that_are_only_names_go_through_sequences() {
    let weights = || vec![floats("w", &[2, 12, 4]), floats("r", &[2, 12, 3])];
    let lstm = || node("LSTM", &["x", "w", "r"], &["y"]).text("direction", "bidirectional");
    assert_eq!(
        y_of(17, "t,n,4", vec![lstm()], weights()),
        "y: FP32[t, 2, n, 3]"
    );
    assert_eq!(
        y_of(17, "n,t,4", vec![lstm().int("layout", 1)], weights()),
        "y: FP32[n, t, 2, 3]"
    );
    let attention = |mask: &str| node("Attention", &["x", "x", "x", mask], &["y"]);
    let packed = attention("").int("q_num_heads", 4).int("kv_num_heads", 4);
    assert_eq!(
        y_of(23, "n,t,32", vec![packed], vec![]),
        "y: FP32[n, t, 32]"
    );
    assert_eq!(
        y_of(23, "n,4,t,8", vec![attention("")], vec![]),
        "y: FP32[n, 4, t, 8]"
    );
}

#[test]
fn contradictions_in_sequences_are_named() {
    let weights = || vec![floats("w", &[1, 12, 4]), floats("r", &[1, 12, 3])];
    let lstm = || node("LSTM", &["x", "w", "r"], &["y"]);
    for (x, part, weights, expected) in [
        (
            "t,n,5",
            lstm(),
            weights(),
            "input 1 has shape [1, 12, 4], expected [1, 12, 5]",
        ),
        (
            "t,n,4",
            lstm().int("hidden_size", 4),
            weights(),
            "input 1 has shape [1, 12, 4], expected [1, 16, 4]",
        ),
        (
            "t,n,4",
            lstm().text("direction", "sideways"),
            weights(),
            "attribute direction is \"sideways\", expected \"forward\", \"reverse\" or \"bidirectional\"",
        ),
        (
            "n,t,30",
            node("Attention", &["x", "x", "x"], &["y"])
                .int("q_num_heads", 4)
                .int("kv_num_heads", 4),
            vec![],
            "input 0 has shape [n, t, 30], expected a last dimension that is a multiple of 4, the number of heads",
        ),
        (
            "n,t,32",
            node("Attention", &["x", "x", "x"], &["y"])
                .int("q_num_heads", 4)
                .int("kv_num_heads", 3),
            vec![],
            "attribute q_num_heads is 4, expected a multiple of kv_num_heads, which is 3",
        ),
        (
            "n,t,32",
            node("Attention", &["x", "x", "x"], &["y"]),
            vec![],
            "attribute q_num_heads is missing, expected a positive number of heads",
        ),
    ] {
        let message = y_of(23, x, vec![part], weights);
        assert!(message.ends_with(expected), "{message}");
    }
}
