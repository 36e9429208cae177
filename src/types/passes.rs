//! Which rewritings a model's graph goes through before it runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Precision;

/// One rewriting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pass {
    FoldConstants,
    TidyLayout,
    MergeEqual,
    FoldScales,
    FuseFormulas,
    FuseAttention,
    FuseLinear,
    FuseBias,
    FuseActivations,
    DropDead,
}

/// How far rewriting may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Optimize {
    /// The graph runs as it was read.
    Off,
    /// Outputs are the same to the last bit wherever the model is cut.
    #[default]
    Exact,
    /// Arithmetic may be done otherwise than the model says, and round otherwise; across a cut it is not.
    Fast,
}

/// The rewritings that are on, and the numbers that the graph is to be computed in after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passes {
    level: Optimize,
    off: u16,
    #[serde(default, skip_serializing_if = "Precision::is_default")]
    precision: Precision,
}

/// A name that is no pass or level of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}", expected.join(" "))]
pub struct PassParseError {
    pub expected: Vec<&'static str>,
}

impl Pass {
    /// In the order in which they run.
    pub const ALL: [Self; 10] = [
        Self::FoldConstants,
        Self::TidyLayout,
        Self::MergeEqual,
        Self::FoldScales,
        Self::FuseFormulas,
        Self::FuseAttention,
        Self::FuseLinear,
        Self::FuseBias,
        Self::FuseActivations,
        Self::DropDead,
    ];

    /// Returns the name that users write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FoldConstants => "fold-constants",
            Self::TidyLayout => "tidy-layout",
            Self::MergeEqual => "merge-equal",
            Self::FoldScales => "fold-scales",
            Self::FuseFormulas => "fuse-formulas",
            Self::FuseAttention => "fuse-attention",
            Self::FuseLinear => "fuse-linear",
            Self::FuseBias => "fuse-bias",
            Self::FuseActivations => "fuse-activations",
            Self::DropDead => "drop-dead",
        }
    }

    /// Tells whether outputs stay the same to the last bit wherever a model is cut.
    pub const fn is_exact(self) -> bool {
        !matches!(
            self,
            Self::FoldScales | Self::FuseFormulas | Self::FuseAttention | Self::FuseBias
        )
    }
}

impl Optimize {
    pub const ALL: [Self; 3] = [Self::Off, Self::Exact, Self::Fast];

    /// Returns the name that users write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Exact => "exact",
            Self::Fast => "fast",
        }
    }
}

impl Passes {
    /// Returns all that a level allows.
    pub const fn of(level: Optimize) -> Self {
        Self {
            level,
            off: 0,
            precision: Precision::Fp32,
        }
    }

    /// Leaves one out.
    #[must_use]
    pub const fn without(self, pass: Pass) -> Self {
        Self {
            off: self.off | 1 << pass as u16,
            ..self
        }
    }

    /// Returns just one, whatever its level.
    #[must_use]
    pub fn only(pass: Pass) -> Self {
        let others = Pass::ALL.into_iter().filter(|&other| other != pass);
        others.fold(Self::of(Optimize::Fast), Self::without)
    }

    pub fn has(self, pass: Pass) -> bool {
        let allowed = match self.level {
            Optimize::Off => false,
            Optimize::Exact => pass.is_exact(),
            Optimize::Fast => true,
        };
        allowed && self.off & 1 << pass as u16 == 0
    }

    pub const fn level(self) -> Optimize {
        self.level
    }

    /// Returns the same of a graph that is computed in other numbers.
    #[must_use]
    pub const fn in_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    pub const fn precision(self) -> Precision {
        self.precision
    }
}

impl Default for Passes {
    fn default() -> Self {
        Self::of(Optimize::default())
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Optimize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Pass {
    type Err = PassParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|pass| pass.name() == text);
        found.ok_or_else(|| PassParseError {
            expected: Self::ALL.map(Self::name).to_vec(),
        })
    }
}

impl FromStr for Optimize {
    type Err = PassParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|level| level.name() == text);
        found.ok_or_else(|| PassParseError {
            expected: Self::ALL.map(Self::name).to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_left_out_is_off_and_no_other() {
        for left_out in Pass::ALL {
            let passes = Passes::of(Optimize::Fast).without(left_out);
            for pass in Pass::ALL {
                assert_eq!(passes.has(pass), pass != left_out, "{pass}");
                assert_eq!(Passes::only(left_out).has(pass), pass == left_out, "{pass}");
            }
        }
    }

    #[test]
    fn by_default_nothing_rounds_otherwise() {
        for pass in Pass::ALL {
            assert_eq!(Passes::default().has(pass), pass.is_exact(), "{pass}");
            assert!(!Passes::of(Optimize::Off).has(pass), "{pass}");
        }
    }

    #[test]
    fn names_print_and_parse() {
        for pass in Pass::ALL {
            assert_eq!(pass.to_string().parse(), Ok(pass));
        }
        for level in Optimize::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        let error = "fuse"
            .parse::<Pass>()
            .expect_err("no such pass")
            .to_string();
        assert!(
            error.starts_with("expected one of fold-constants tidy-layout "),
            "{error}"
        );
    }
}
