//! Normalisations, and Dropout, which goes with them in training.

use crate::graph::Normalization;

use super::attribute::{flag, float, int, size};
use super::call::{Call, Written};

/// The number of BF16, in which statistics may be kept.
const BFLOAT16: i64 = 16;

pub(super) fn normalisation(call: &mut Call<'_, '_>, op: Normalization) -> Written {
    let attributes = match op {
        Normalization::Batch { epsilon } | Normalization::Instance { epsilon } => {
            vec![float("epsilon", epsilon)]
        }
        Normalization::BatchTraining { epsilon, momentum } => vec![
            float("epsilon", epsilon),
            float("momentum", momentum),
            flag("training_mode", true),
        ],
        Normalization::Layer {
            axis,
            epsilon,
            brief_statistics,
        } => {
            let stash = brief_statistics.then(|| int("stash_type", BFLOAT16));
            let own = [int("axis", axis), float("epsilon", epsilon)];
            own.into_iter().chain(stash).collect()
        }
        Normalization::RootMeanSquare { axis, epsilon } => {
            vec![int("axis", axis), float("epsilon", epsilon)]
        }
        Normalization::Group { groups, epsilon } => {
            vec![size("num_groups", groups), float("epsilon", epsilon)]
        }
        Normalization::LocalResponse {
            size: channels,
            alpha,
            beta,
            bias,
        } => vec![
            size("size", channels),
            float("alpha", alpha),
            float("beta", beta),
            float("bias", bias),
        ],
    };
    call.plain(attributes)
}

pub(super) fn dropout(call: &mut Call<'_, '_>, seed: Option<i64>) -> Written {
    call.plain(seed.map(|seed| int("seed", seed)).into_iter().collect())
}
