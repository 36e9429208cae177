//! Channels turned into places and back.

use super::super::cause::Cause;
use super::args::{Kernel, signed};

/// Returns the four sizes of an image.
fn image(shape: &[i64]) -> Result<[i64; 4], Cause> {
    shape
        .try_into()
        .map_err(|_| Cause::new(format!("data {shape:?} is no batch of images")))
}

fn divided(size: i64, by: i64) -> Result<i64, Cause> {
    if by > 0 && size % by == 0 {
        Ok(size / by)
    } else {
        Err(Cause::new(format!("{size} is no multiple of {by}")))
    }
}

/// `test_depthtospace_example`, `test_depthtospace_crd_mode_example`
pub(super) fn depth_to_space(block: usize, channels_first: bool) -> Kernel {
    let block = signed(block);
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let [batch, channels, height, width] = image(&x.size())?;
        let channels = divided(channels, block.saturating_mul(block))?;
        let result = if channels_first {
            x.f_reshape([batch, channels, block, block, height, width])?
                .f_permute([0, 1, 4, 2, 5, 3])?
        } else {
            x.f_reshape([batch, block, block, channels, height, width])?
                .f_permute([0, 3, 4, 1, 5, 2])?
        };
        Ok(result
            .f_reshape([batch, channels, height * block, width * block])?
            .into())
    })
}

/// `test_spacetodepth`, `test_spacetodepth_example`
pub(super) fn space_to_depth(block: usize) -> Kernel {
    let block = signed(block);
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let [batch, channels, height, width] = image(&x.size())?;
        let (height, width) = (divided(height, block)?, divided(width, block)?);
        Ok(x.f_reshape([batch, channels, height, block, width, block])?
            .f_permute([0, 3, 5, 1, 2, 4])?
            .f_reshape([batch, channels * block * block, height, width])?
            .into())
    })
}
