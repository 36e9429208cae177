//! Which operators compute nothing.

use super::{Combine, Index, Op};

impl Op {
    /// Tells whether the operator only moves, views, makes up or converts elements: no result depends on arithmetic,
    /// nor on the order in which elements lie in memory.
    pub fn only_moves(&self) -> bool {
        match self {
            Self::Reshape { .. }
            | Self::Flatten { .. }
            | Self::Transpose { .. }
            | Self::Squeeze
            | Self::Unsqueeze
            | Self::Concat { .. }
            | Self::Split { .. }
            | Self::Slice
            | Self::Gather { .. }
            | Self::Expand
            | Self::Pad(_)
            | Self::CenterCropPad { .. }
            | Self::DepthToSpace { .. }
            | Self::SpaceToDepth { .. }
            | Self::Shape { .. }
            | Self::Size
            | Self::Cast { .. }
            | Self::BitCast { .. }
            | Self::ConstantOfShape { .. }
            | Self::EyeLike { .. }
            | Self::Container(_)
            | Self::Identity => true,
            Self::Index(Index::ScatterElements { combine, .. } | Index::ScatterNd { combine }) => {
                *combine == Combine::Replace
            }
            Self::Index(_) => true,
            _ => false,
        }
    }
}
