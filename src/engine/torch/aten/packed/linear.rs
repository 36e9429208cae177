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

/// Packs a matrix (k, n) for a problem.
type Pack = fn(&Problem, &Tensor) -> Result<Tensor, Cause>;
/// Binds a product with a packed matrix and a bias.
type Bind = fn(&Problem, &Tensor, Option<&Tensor>) -> Result<Call, Cause>;

impl Library {
    fn functions(self) -> Option<(&'static str, Pack, Bind)> {
        match self {
            Self::Plain => None,
            Self::OneDnn => Some(("oneDNN", one_dnn_pack, one_dnn)),
            Self::Mkl => Some(("MKL", mkl_pack, mkl)),
        }
    }
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
    let library = CHOICES.get(problem.clone(), threads, || tried(context, &problem))?;
    let Some((name, pack, bind)) = library.functions() else {
        return Ok(None);
    };
    let form = format!("{name} product of {} rows, threads {threads}", problem.rows);
    let Some(packed) = context.made_of(1, form, |matrix| pack(&problem, matrix))? else {
        return Ok(None);
    };
    let call = bind(&problem, &packed, context.weight(2)?.as_ref())?;
    Ok(Some(Packed {
        kernel: Box::new(move |args| {
            let x = args.tensor(0)?;
            check_rows(&problem, &x.size())?;
            Ok(activate(activation, call.tensor(&[Some(x)])?)?.into())
        }),
        layout: Layout::Dimensions,
        absorbed: vec![1, 2],
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

fn tried(context: &NodeContext<'_>, problem: &Problem) -> Result<Library, Cause> {
    let x = sample::numbers(&[problem.rows, problem.inner])?;
    let Some(matrix) = context.constant(1).map(sample::mapped).transpose()? else {
        return Ok(Library::Plain);
    };
    let bias = context.constant(2).map(sample::mapped).transpose()?;
    let bias = bias.as_ref();
    let mut ways: Vec<(Library, Way<'_>)> = Vec::new();
    for library in [Library::Mkl, Library::OneDnn] {
        let Some((_, pack, bind)) = library.functions() else {
            continue;
        };
        let call = pack(problem, &matrix).and_then(|packed| bind(problem, &packed, bias));
        // A libtorch for another processor lacks the operator.
        if let Ok(call) = call {
            ways.push((library, way(call, &x)));
        }
    }
    let (x, plain) = (&x, matrix.f_transpose(0, 1)?);
    ways.push((
        Library::Plain,
        Box::new(move || Ok(x.f_linear(&plain, bias)?)),
    ));
    Ok(first_working(&ways).unwrap_or(Library::Plain))
}

fn one_dnn_pack(problem: &Problem, matrix: &Tensor) -> Result<Tensor, Cause> {
    reorder("mkldnn::_reorder_linear_weight", problem, matrix)
}

fn mkl_pack(problem: &Problem, matrix: &Tensor) -> Result<Tensor, Cause> {
    reorder("mkl::_mkl_reorder_linear_weight", problem, matrix)
}

/// The libraries take matrices as linear layers keep them, [columns, inner].
fn reorder(operator: &str, problem: &Problem, matrix: &Tensor) -> Result<Tensor, Cause> {
    Operator::find(operator, "")?
        .bind_all(vec![Argument::Input(0), Argument::Int(problem.rows)])?
        .tensor(&[Some(&matrix.f_transpose(0, 1)?.f_contiguous()?)])
}

fn one_dnn(_: &Problem, packed: &Tensor, bias: Option<&Tensor>) -> Result<Call, Cause> {
    Operator::find("mkldnn::_linear_pointwise", "")?.bind_all(vec![
        Argument::Input(0),
        Argument::Tensor(packed),
        Argument::optional(bias),
        Argument::Text("none"),
        Argument::List(Vec::new()),
        Argument::None,
    ])
}

fn mkl(problem: &Problem, packed: &Tensor, bias: Option<&Tensor>) -> Result<Call, Cause> {
    // The dense matrix is read for other numbers of rows, which `check_rows` refuses; of this one only its shape is.
    let shape = Tensor::f_zeros([1, 1], (tch::Kind::Float, tch::Device::Cpu))?
        .f_expand([problem.columns, problem.inner], false)?;
    Operator::find("mkl::_mkl_linear", "")?.bind_all(vec![
        Argument::Input(0),
        Argument::Tensor(packed),
        Argument::Tensor(&shape),
        Argument::optional(bias),
        Argument::Int(problem.rows),
    ])
}
