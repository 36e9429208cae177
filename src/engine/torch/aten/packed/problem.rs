//! Convolutions as they are prepared: all sizes and parameters known.

use tch::Tensor;

use crate::graph::Conv;
use crate::types::DType;

use super::super::args::signed;
use super::super::context::NodeContext;
use super::super::window::{Axis, Windows, each};

/// A convolution of data that is padded already where its padding is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Problem {
    pub(super) data: Vec<i64>,
    pub(super) filters: Vec<i64>,
    pub(super) padding: Vec<i64>,
    pub(super) strides: Vec<i64>,
    pub(super) dilations: Vec<i64>,
    pub(super) groups: i64,
    pub(super) bias: bool,
    pub(super) threads: usize,
}

/// The filters, packed or not, and the bias of a convolution.
pub(super) struct Weights {
    pub(super) filters: Tensor,
    pub(super) bias: Option<Tensor>,
}

impl Problem {
    /// Names the way in which a library packs filters for this problem: they are packed alike for all problems of one
    /// name. A bias has no part in it.
    pub(super) fn form(&self, library: &str) -> String {
        let Self {
            data,
            filters: _,
            padding,
            strides,
            dilations,
            groups,
            bias: _,
            threads,
        } = self;
        format!(
            "{library} convolution of {data:?}, padding {padding:?}, strides {strides:?}, dilations {dilations:?}, \
             groups {groups}, threads {threads}"
        )
    }
}

/// Returns what is to be computed, if all of it but the number of rows is known, and where the windows lie.
pub(super) fn problem(
    context: &NodeContext<'_>,
    conv: &Conv,
    threads: usize,
) -> Option<(Problem, Vec<Axis>)> {
    let filters = context.constant(1)?;
    let is_constant = context.constant(2).is_some() || !context.has_input(2);
    let is_f32 = context.input_dtype(0) == Some(DType::F32) && filters.dtype() == DType::F32;
    let mut data = context.input_sizes(0)?;
    // Filters are packed alike for any number of rows, or nearly so.
    let rows = data.first_mut()?;
    *rows = rows.or(Some(1));
    let mut data: Vec<i64> = data
        .into_iter()
        .map(|size| size.map(signed))
        .collect::<Option<_>>()?;
    let filters: Vec<i64> = filters.shape().iter().copied().map(signed).collect();
    let is_planar = (4..=5).contains(&data.len()) && filters.len() == data.len();
    let is_empty = data.contains(&0) || filters.contains(&0);
    if !is_planar || is_empty || !is_constant || !is_f32 {
        return None;
    }
    let windows = Windows {
        auto_pad: conv.auto_pad,
        pads: &conv.pads,
        strides: &conv.strides,
        dilations: &conv.dilations,
        ceil_mode: false,
    };
    let axes = windows.place(&data[2..], &filters[2..]).ok()?;
    let is_symmetric = axes.iter().all(|axis| axis.begin == axis.end);
    let padding = if is_symmetric {
        each(&axes, |axis| axis.begin)
    } else {
        for (size, axis) in data[2..].iter_mut().zip(&axes) {
            *size += axis.begin + axis.end;
        }
        vec![0; axes.len()]
    };
    let problem = Problem {
        data,
        filters,
        padding,
        strides: each(&axes, |axis| axis.stride),
        dilations: each(&axes, |axis| axis.dilation),
        groups: signed(conv.groups.max(1)),
        bias: context.constant(2).is_some(),
        threads,
    };
    Some((problem, if is_symmetric { Vec::new() } else { axes }))
}
