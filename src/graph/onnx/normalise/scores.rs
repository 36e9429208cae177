//! Classifiers and regressors of classical machine learning: what follows their scores.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal;
use crate::graph::{Binary, Fault, Op, Unary, ValueId};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("ai.onnx.ml.LinearClassifier", linear_classifier),
    ("ai.onnx.ml.LinearRegressor", linear_regressor),
];

/// What is done to the scores of a row in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PostTransform {
    None,
    Softmax,
    Logistic,
}

impl PostTransform {
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Fault> {
        match call.attributes.text("post_transform")?.as_deref() {
            None | Some("NONE") => Ok(Self::None),
            Some("SOFTMAX") => Ok(Self::Softmax),
            Some("LOGISTIC") => Ok(Self::Logistic),
            Some(seen) => {
                let expected = "\"NONE\", \"SOFTMAX\" or \"LOGISTIC\"";
                Err(wrong("post_transform", format!("{seen:?}"), expected))
            }
        }
    }

    pub(super) fn op(self) -> Op {
        match self {
            Self::None => Op::Identity,
            Self::Softmax => Op::Softmax { axis: -1 },
            Self::Logistic => Op::Unary(Unary::Sigmoid),
        }
    }
}

/// The names of classes, from attributes that end in `integers` and `_strings`.
pub(super) struct Classes {
    count: usize,
    names: ValueId,
    unknown: ValueId,
}

impl Classes {
    pub(super) fn read(call: &mut Call<'_>, integers: &str) -> Result<Self, Fault> {
        let strings = call.attributes.byte_strings("classlabels_strings")?;
        let numbers = call.attributes.ints(integers)?;
        let (count, names, unknown) = match (strings, numbers) {
            (Some(strings), _) if !strings.is_empty() => (
                strings.len(),
                literal::strings(vec![strings.len()], strings),
                literal::strings(Vec::new(), &[""]),
            ),
            (_, Some(numbers)) if !numbers.is_empty() => (
                numbers.len(),
                literal::integers(numbers),
                literal::of_integers(DType::I64, Vec::new(), &[-1]),
            ),
            _ => {
                return Err(Fault::NoAttribute {
                    attribute: integers.to_owned(),
                    expected: "the labels of the classes",
                });
            }
        };
        Ok(Self {
            count,
            names: call.literal("labels", names)?,
            unknown: call.literal("unknown", unknown)?,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Outputs: label of each row, scores. `winners` are the numbers of the classes.
    pub(super) fn outputs(
        &self,
        call: &mut Call<'_>,
        winners: ValueId,
        scores: (Op, Vec<Option<ValueId>>),
    ) -> Result<Form, Fault> {
        let numbers: Vec<i64> = (0..).take(self.count).collect();
        let numbers = call.integers("numbers", &numbers)?;
        let labels = [winners, numbers, self.names, self.unknown].map(Some);
        Ok(Form::Nodes(vec![
            (Op::LabelEncoder, labels.to_vec()),
            scores,
        ]))
    }

    /// The class with the greatest score wins.
    pub(super) fn greatest(
        &self,
        call: &mut Call<'_>,
        scores: ValueId,
        transform: PostTransform,
    ) -> Result<Form, Fault> {
        let greatest = Op::ArgExtreme {
            largest: true,
            axis: -1,
            keep_dims: false,
            select_last: false,
        };
        let winners = call.step("winners", greatest, vec![Some(scores)])?;
        self.outputs(call, winners, (transform.op(), vec![Some(scores)]))
    }

    /// A single score decides between two classes: the second wins above `threshold`. `complement` is the score of the
    /// first one.
    pub(super) fn either(
        &self,
        call: &mut Call<'_>,
        score: ValueId,
        complement: ValueId,
        threshold: f32,
        transform: PostTransform,
    ) -> Result<Form, Fault> {
        let dtype = call.builder.dtype_for(score, 0, "post_transform")?;
        let threshold = call.literal("threshold", literal::float(dtype, threshold))?;
        let above = Op::Binary(Binary::Greater);
        let above = call.step("above", above, vec![Some(score), Some(threshold)])?;
        let winners = call.step("winners", Op::Cast { to: DType::I64 }, vec![Some(above)])?;
        let axes = call.integers("axes", &[-1])?;
        let winners = call.step("winner", Op::Squeeze, vec![Some(winners), Some(axes)])?;
        let both = Op::Concat { axis: -1 };
        let both = call.step("scores", both, vec![Some(complement), Some(score)])?;
        self.outputs(call, winners, (transform.op(), vec![Some(both)]))
    }
}

/// Adds `x · coefficientsᵀ + intercepts`, with a row of coefficients for each target.
fn linear(call: &mut Call<'_>, targets: usize) -> Result<ValueId, Fault> {
    call.at_most_inputs(1)?;
    let coefficients = call.attributes.floats("coefficients")?.unwrap_or_default();
    let intercepts = call.attributes.floats("intercepts")?.unwrap_or_default();
    if targets == 0 || coefficients.is_empty() || !coefficients.len().is_multiple_of(targets) {
        let expected = format!("a multiple of {targets} numbers");
        return Err(wrong("coefficients", coefficients.len(), &expected));
    }
    let shape = vec![targets, coefficients.len() / targets];
    let coefficients = call.literal("coefficients", literal::floats(shape, coefficients))?;
    let data = Some(call.input(0)?);
    let data = call.step("float", Op::Cast { to: DType::F32 }, vec![data])?;
    let mut inputs = vec![Some(data), Some(coefficients)];
    if !intercepts.is_empty() {
        let shape = vec![intercepts.len()];
        inputs.push(Some(
            call.literal("intercepts", literal::floats(shape, intercepts))?,
        ));
    }
    let product = Op::Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    call.step("scores", product, inputs)
}

fn linear_regressor(call: &mut Call<'_>) -> Result<Form, Fault> {
    let transform = PostTransform::read(call)?;
    let targets = call.attributes.int_or("targets", 1)?;
    let targets = usize::try_from(targets).map_err(|_| wrong("targets", targets, "at least 1"))?;
    let scores = linear(call, targets)?;
    Ok(Form::Node(transform.op(), vec![Some(scores)]))
}

fn linear_classifier(call: &mut Call<'_>) -> Result<Form, Fault> {
    let transform = PostTransform::read(call)?;
    // Tells how the model was trained.
    call.attributes.ignore(&["multi_class"]);
    let classes = Classes::read(call, "classlabels_ints")?;
    let rows = call
        .attributes
        .floats("intercepts")?
        .map_or(0, <[f32]>::len);
    let single = rows == 1 && classes.count() == 2;
    let scores = linear(call, if single { 1 } else { classes.count() })?;
    if !single {
        return classes.greatest(call, scores, transform);
    }
    let complement = call.step("complement", Op::Unary(Unary::Neg), vec![Some(scores)])?;
    classes.either(call, scores, complement, 0.0, transform)
}
