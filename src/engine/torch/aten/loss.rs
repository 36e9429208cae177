//! Losses of classifiers.

use tch::{Kind, Reduction, Tensor};

use crate::graph::LossReduction;

use super::super::cause::Cause;
use super::args::Kernel;

/// `test_nllloss_NC` to `test_nllloss_NCd1d2d3d4d5_none_no_weight`, and those of `test_sce_…` as their second step
pub(super) fn negative_log_likelihood(ignored: Option<i64>, reduction: LossReduction) -> Kernel {
    let reduction = match reduction {
        LossReduction::None => Reduction::None,
        LossReduction::Sum => Reduction::Sum,
        LossReduction::Mean => Reduction::Mean,
    };
    Box::new(move |args| {
        let scores = args.tensor(0)?;
        if scores.dim() < 2 {
            return Err(Cause::new(format!(
                "scores {:?} have no classes in dimension 1",
                scores.size()
            )));
        }
        let kind = scores.f_kind()?;
        // libtorch has no half precision here.
        let wide = match kind {
            Kind::Half | Kind::BFloat16 => Kind::Float,
            _ => kind,
        };
        let targets = args.tensor(1)?.f_totype(Kind::Int64)?;
        let weights: Option<Tensor> = args
            .optional(2)?
            .map(|weights| weights.f_totype(wide))
            .transpose()?;
        // No class has this number, so that none is ignored where the model names none.
        let ignored = ignored.unwrap_or(i64::MIN);
        let loss = scores
            .f_totype(wide)?
            .f_nll_loss_nd(&targets, weights, reduction, ignored)?;
        Ok(loss.f_totype(kind)?.into())
    })
}
