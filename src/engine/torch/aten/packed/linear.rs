//! Products with constant matrices.

use tch::Tensor;

use crate::graph::Activation;
use crate::types::DType;

use super::super::super::cause::Cause;
use super::super::super::ffi::boxed::{Argument, Call, Operator};
use super::super::args::signed;
use super::super::context::NodeContext;
use super::super::fused::activate;
use super::super::layout::Layout;
use super::choice::{Choices, Way, first_working, way};
use super::dispatch::Packed;
use super::sample;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Problem {
    rows: i64,
    inner: i64,
    columns: i64,
    bias: bool,
    threads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Library {
    /// The plain kernel.
    Plain,
    OneDnn,
    Mkl,
}

static CHOICES: Choices<Problem, Library> = Choices::new();

/// A matrix [columns, inner], the way linear layers keep it, and a bias.
struct Weights {
    matrix: Tensor,
    bias: Option<Tensor>,
}

/// Inputs: data (…, k), weight (k, n), bias? (n).
pub(super) fn kernel(
    context: &NodeContext<'_>,
    activation: Option<Activation>,
    threads: usize,
) -> Result<Option<Packed>, Cause> {
    let Some(problem) = problem(context, threads) else {
        return Ok(None);
    };
    let (Some(weight), bias) = (context.constant(1), context.constant(2)) else {
        return Ok(None);
    };
    let weights = Weights {
        matrix: sample::mapped(weight)?.f_transpose(0, 1)?.f_contiguous()?,
        bias: bias.map(sample::mapped).transpose()?,
    };
    let library = CHOICES.get(problem.clone(), threads, || tried(&problem, &weights))?;
    let call = match library {
        Library::Plain => return Ok(None),
        Library::OneDnn => one_dnn(&problem, &weights)?,
        Library::Mkl => mkl(&problem, &weights)?,
    };
    let bytes = weight.bytes().len() + bias.map_or(0, |bias| bias.bytes().len());
    Ok(Some(Packed {
        kernel: Box::new(move |args| {
            let x = args.tensor(0)?;
            check_rows(&problem, &x.size())?;
            Ok(activate(activation, call.tensor(&[Some(x)])?)?.into())
        }),
        layout: Layout::Dimensions,
        absorbed: vec![1, 2],
        bytes,
    }))
}

/// Returns what is to be computed, if all of it is known and constant weights are its only ones.
fn problem(context: &NodeContext<'_>, threads: usize) -> Option<Problem> {
    let weight = context.constant(1)?;
    let bias = context.constant(2);
    let is_constant = bias.is_some() || !context.has_input(2);
    let is_f32 = context.input_dtype(0) == Some(DType::F32) && weight.dtype() == DType::F32;
    let &[inner, columns] = weight.shape() else {
        return None;
    };
    let sizes: Vec<usize> = context.input_sizes(0)?.into_iter().collect::<Option<_>>()?;
    let (&last, leading) = sizes.split_last()?;
    let rows = leading
        .iter()
        .try_fold(1_usize, |rows, &size| rows.checked_mul(size))?;
    let fits = !leading.is_empty() && last == inner && rows > 0 && inner > 0 && columns > 0;
    (fits && is_constant && is_f32).then(|| Problem {
        rows: signed(rows),
        inner: signed(inner),
        columns: signed(columns),
        bias: bias.is_some(),
        threads,
    })
}

/// A matrix is packed for a number of rows.
fn check_rows(problem: &Problem, sizes: &[i64]) -> Result<(), Cause> {
    let fits = sizes.split_last().is_some_and(|(&inner, leading)| {
        inner == problem.inner && leading.iter().product::<i64>() == problem.rows
    });
    if fits {
        return Ok(());
    }
    Err(Cause::new(format!(
        "data has shape {sizes:?}, expected {} rows of {}",
        problem.rows, problem.inner
    )))
}

fn tried(problem: &Problem, weights: &Weights) -> Result<Library, Cause> {
    let x = sample::numbers(&[problem.rows, problem.inner])?;
    let dense = weights.matrix.f_transpose(0, 1)?.f_contiguous()?;
    let plain = dense.f_transpose(0, 1)?;
    let mut ways: Vec<(Library, Way<'_>)> = Vec::new();
    for (library, call) in [
        (Library::Mkl, mkl(problem, weights)),
        (Library::OneDnn, one_dnn(problem, weights)),
    ] {
        // A libtorch for another processor lacks the operator.
        if let Ok(call) = call {
            ways.push((library, way(call, &x)));
        }
    }
    let bias = weights.bias.as_ref();
    let x = &x;
    ways.push((
        Library::Plain,
        Box::new(move || Ok(x.f_linear(&plain, bias)?)),
    ));
    Ok(first_working(&ways).unwrap_or(Library::Plain))
}

fn one_dnn(problem: &Problem, weights: &Weights) -> Result<Call, Cause> {
    let packed = Operator::find("mkldnn::_reorder_linear_weight", "")?
        .bind_all(vec![Argument::Input(0), Argument::Int(problem.rows)])?
        .tensor(&[Some(&weights.matrix)])?;
    let bias = weights.bias.as_ref().map(sample::copied).transpose()?;
    Operator::find("mkldnn::_linear_pointwise", "")?.bind_all(vec![
        Argument::Input(0),
        Argument::Tensor(&packed),
        Argument::optional(bias.as_ref()),
        Argument::Text("none"),
        Argument::List(Vec::new()),
        Argument::None,
    ])
}

fn mkl(problem: &Problem, weights: &Weights) -> Result<Call, Cause> {
    let packed = Operator::find("mkl::_mkl_reorder_linear_weight", "")?
        .bind_all(vec![Argument::Input(0), Argument::Int(problem.rows)])?
        .tensor(&[Some(&weights.matrix)])?;
    // The dense matrix is read for other numbers of rows, which `check_rows` refuses; of this one only its shape is.
    let shape = Tensor::f_zeros([1, 1], (tch::Kind::Float, tch::Device::Cpu))?
        .f_expand([problem.columns, problem.inner], false)?;
    let bias = weights.bias.as_ref().map(sample::copied).transpose()?;
    Operator::find("mkl::_mkl_linear", "")?.bind_all(vec![
        Argument::Input(0),
        Argument::Tensor(&packed),
        Argument::Tensor(&shape),
        Argument::optional(bias.as_ref()),
        Argument::Int(problem.rows),
    ])
}
