//! Reductions, losses, orders, signals and strings: values in tensors that an operator cannot take are an error of that
//! request, and what the backend suite does not compare.

use blockflow::graph::{Aggregate, Branch, Leaf, LossReduction, NgramCount, Op, Reduce, Signal};
use blockflow::graph::{Split, Test, Text, TreeEnsemble, Weighting};
use blockflow::types::{DType, Tensor};

use crate::engine_support::{f32s, i64s, list, run_op, values_f32};

fn strings(values: &[&str]) -> Tensor {
    Tensor::from_byte_strings(vec![values.len()], values).unwrap()
}

/// Runs an operator of which the inputs after the first are constant where `constant` says so.
fn run(
    op: Op,
    inputs: &[Tensor],
    constant: bool,
    expected: &[Tensor],
) -> Result<Vec<Tensor>, String> {
    let mut flags = vec![constant; inputs.len()];
    flags[0] = false;
    let inputs: Vec<_> = inputs.iter().cloned().map(Some).collect();
    run_op(&op, &inputs, &flags, expected).map_err(|error| error.to_string())
}

fn refusal(op: Op, inputs: &[Tensor], constant: bool) -> String {
    run(op, inputs, constant, &[f32s(&[0], &[])]).expect_err("has to be refused")
}

#[test]
fn top_k_of_more_than_there_are_is_refused() {
    let op = || Op::TopK {
        axis: -1,
        largest: true,
    };
    let x = f32s(&[1, 3], &[1.0, 2.0, 3.0]);
    for (count, seen) in [(4, "k is 4"), (-1, "k is -1")] {
        let message = refusal(op(), &[x.clone(), list(&[count])], false);
        assert!(
            message.contains(&format!("{seen}, expected 0 to 3, the size of dimension 1")),
            "{message}"
        );
    }
}

#[test]
fn a_class_that_is_not_there_is_refused() {
    let op = Op::NegativeLogLikelihoodLoss {
        ignored: Some(7),
        reduction: LossReduction::Sum,
    };
    let scores = f32s(&[2, 3], &[0.0; 6]);
    let message = refusal(op.clone(), &[scores.clone(), i64s(&[2], &[0, 3])], false);
    assert!(message.contains("out of bounds"), "{message}");
    let ignored = run(
        op,
        &[scores, i64s(&[2], &[0, 7])],
        false,
        &[f32s(&[], &[0.0])],
    )
    .unwrap();
    assert_eq!(values_f32(&ignored[0]), [0.0]);
}

#[test]
fn mel_weights_beyond_the_spectrum_are_refused() {
    let op = Op::Signal(Signal::MelWeights { dtype: DType::F32 });
    let numbers = |mels, length, high| {
        let integers = [mels, length, 8192].map(|number| i64s(&[], &[number]));
        let edges = [0.0, high].map(|edge| f32s(&[], &[edge]));
        integers.into_iter().chain(edges).collect::<Vec<_>>()
    };
    let message = refusal(op.clone(), &numbers(8, 16, 8e6), false);
    assert!(message.contains("edge"), "{message}");
    let message = refusal(op, &numbers(1 << 20, 1 << 20, 4096.0), false);
    assert!(message.contains("out of range"), "{message}");
}

#[test]
fn an_expression_that_grows_without_bound_is_refused() {
    let pattern = "(?:(?:a{1000}){1000}){1000}".to_owned();
    let message = refusal(
        Op::Text(Text::FullMatch { pattern }),
        &[strings(&["a"])],
        false,
    );
    assert!(message.contains("size limit"), "{message}");
}

#[test]
fn letters_of_an_expression_are_those_of_ascii() {
    let matches = |pattern: &str, text: &str| {
        let op = Op::Text(Text::FullMatch {
            pattern: pattern.to_owned(),
        });
        let expected = Tensor::copy_of(DType::Bool, vec![1], &[0]).unwrap();
        run(op, &[strings(&[text])], false, &[expected]).unwrap()[0].bytes() == [1]
    };
    assert!(matches(r"\w+", "word_1"));
    assert!(!matches(r"\w+", "wört"));
    assert!(matches(r"[\w.]+\d", "a.b1"));
    assert!(matches(r"a|ab", "ab"));
    assert!(!matches(r"a", "ab"));
    assert!(matches(r"\\w", r"\w"));
    assert!(matches(r".", "ö"));
}

#[test]
fn white_space_after_the_last_split_is_kept() {
    let op = Op::Text(Text::Split {
        delimiter: None,
        splits_max: Some(1),
    });
    let parts = Tensor::from_byte_strings(vec![1, 2], &["", ""]).unwrap();
    let outputs = run(
        op,
        &[strings(&["  a  b  c "])],
        false,
        &[parts, i64s(&[1], &[2])],
    )
    .unwrap();
    assert_eq!(outputs[0].byte_strings(), [b"a".as_slice(), b"b  c "]);
    assert_eq!(outputs[1].bytes(), i64s(&[1], &[2]).bytes());
}

#[test]
fn n_grams_that_do_not_fill_the_columns_are_refused() {
    let op = Op::Text(Text::NgramCount(NgramCount {
        weighting: Weighting::Count,
        lengths: 1..=2,
        skips_max: usize::MAX,
        starts: vec![0, 9],
        columns: vec![0],
    }));
    let message = refusal(op, &[list(&[1, 2]), list(&[1, 2, 3])], true);
    assert!(message.contains("do not fit together"), "{message}");
}

#[test]
fn a_row_without_a_feature_that_trees_ask_for_is_refused() {
    let trees = TreeEnsemble {
        nodes: vec![Split {
            feature: 2,
            test: Test::Less(0.5),
            missing_is_true: false,
            on_true: Branch::Leaves(0..1),
            on_false: Branch::Leaves(1..2),
        }],
        leaves: [1.0, 2.0].map(|weight| Leaf { target: 0, weight }).to_vec(),
        roots: vec![Branch::Node(0)],
        targets: 1,
        aggregate: Aggregate::Sum,
        base: Vec::new(),
    };
    assert!(trees.is_sound());
    let op = Op::TreeEnsemble(trees.clone());
    let message = refusal(op.clone(), &[f32s(&[1, 2], &[0.0; 2])], false);
    assert!(message.contains("rows of 3 features"), "{message}");
    let x = f32s(&[2, 3], &[0.0, 0.0, 0.0, 0.0, 0.0, f32::NAN]);
    let votes = run(op, &[x], false, &[f32s(&[2, 1], &[0.0; 2])]).unwrap();
    assert_eq!(values_f32(&votes[0]), [1.0, 2.0]);
    let mut cyclic = trees;
    cyclic.nodes[0].on_true = Branch::Node(0);
    assert!(!cyclic.is_sound());
}

#[test]
fn a_sum_of_exponentials_beyond_the_type_has_a_logarithm() {
    let op = Op::Reduce {
        kind: Reduce::LogSumExp,
        keep_dims: false,
        noop_with_empty_axes: false,
    };
    let x = f32s(&[2], &[1000.0, 1000.0]);
    let outputs = run(op, &[x], false, &[f32s(&[], &[0.0])]).unwrap();
    assert!((values_f32(&outputs[0])[0] - 1_000.693_1).abs() < 1e-3);
}
