//! Images sampled at given places, and grids of places.

use tch::{Kind, Tensor};

use crate::graph::{GridMode, GridSample, Outside};

use super::super::cause::Cause;
use super::args::Kernel;
use super::bounds::checked;
use super::context::NodeContext;
use super::cubic::sample;

/// `test_gridsample`, `_aligncorners_true`, `_bicubic`, `_bilinear`, `_border_padding`, `_nearest`,
/// `_reflection_padding`, `_zeros_padding`, `_volumetric_bilinear_align_corners_0` and the others of these names
pub(super) fn grid_sample(op: GridSample) -> Kernel {
    Box::new(move |args| {
        let (x, grid) = (args.tensor(0)?, args.tensor(1)?);
        let (shape, places) = (x.size(), grid.size());
        let spatial = shape.len().saturating_sub(2);
        let fits = (1..=3).contains(&spatial)
            && places.len() == shape.len()
            && places[0] == shape[0]
            && usize::try_from(places[spatial + 1]) == Ok(spatial);
        if !fits || shape[2..].contains(&0) {
            return Err(Cause::new(format!(
                "places {places:?} do not fit data {shape:?}"
            )));
        }
        let kind = x.f_kind()?;
        let wide = match kind {
            Kind::Double | Kind::Float => kind,
            Kind::Half | Kind::BFloat16 => Kind::Float,
            _ => Kind::Double,
        };
        let (x, grid) = (x.f_totype(wide)?, grid.f_totype(wide)?);
        let result = match spatial {
            1 => line(op, &x, &grid)?,
            3 if op.mode == GridMode::Cubic => sample(op, &x, &grid)?,
            _ => plane(op, &x, &grid)?,
        };
        Ok(result.f_totype(kind)?.into())
    })
}

/// Samples two dimensions, or three.
fn plane(op: GridSample, x: &Tensor, grid: &Tensor) -> Result<Tensor, Cause> {
    let mode = match op.mode {
        GridMode::Linear => 0,
        GridMode::Nearest => 1,
        GridMode::Cubic => 2,
    };
    let outside = match op.outside {
        Outside::Zeros => 0,
        Outside::Border => 1,
        Outside::Reflection => 2,
    };
    Ok(x.f_grid_sampler(grid, mode, outside, op.align_corners)?)
}

/// Samples one dimension, as the only row of a plane.
fn line(op: GridSample, x: &Tensor, grid: &Tensor) -> Result<Tensor, Cause> {
    let rows = grid.f_zeros_like()?;
    let places = Tensor::f_cat(&[grid, &rows], -1)?.f_unsqueeze(1)?;
    Ok(plane(op, &x.f_unsqueeze(2)?, &places)?.f_squeeze_dim(2)?)
}

/// `test_affine_grid_2d`, `test_affine_grid_2d_align_corners`, `test_affine_grid_3d`,
/// `test_affine_grid_3d_align_corners`
pub(super) fn affine_grid(context: &NodeContext<'_>, align_corners: bool) -> Result<Kernel, Cause> {
    let size = context.integers(1)?;
    Ok(Box::new(move |args| {
        let size = size.required(args, "size")?;
        let theta = args.tensor(0)?;
        // The channels matter to nothing but a check that there are some.
        let mut shape = size.to_vec();
        if let Some(channels) = shape.get_mut(1) {
            *channels = 4;
        }
        let shape = checked(shape)?;
        Ok(Tensor::f_affine_grid_generator(theta, shape, align_corners)?.into())
    }))
}
