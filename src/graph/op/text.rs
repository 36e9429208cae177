//! Parameters of the operators on strings.

use std::ops::RangeInclusive;

/// Functions of strings.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    /// Two inputs, broadcast as in NumPy.
    Concat,
    /// Outputs: parts, as many as the most of an element, filled up with empty ones; INT64 number of parts of each.
    /// Without a delimiter, white space of any length separates.
    Split {
        delimiter: Option<String>,
        splits_max: Option<usize>,
    },
    /// Leaves out the elements that are stop words, and changes the case of the others.
    Normalise {
        case: Case,
        case_sensitive: bool,
        stop_words: Vec<String>,
    },
    /// Tells of each element whether the whole of it matches, in the syntax of RE2.
    FullMatch { pattern: String },
    /// Inputs: data, pool of n-grams, weights?. Counts the n-grams of each row.
    NgramCount(NgramCount),
}

/// What becomes of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Keep,
    Lower,
    Upper,
}

/// How n-grams are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NgramCount {
    pub weighting: Weighting,
    /// How many items an n-gram has.
    pub lengths: RangeInclusive<usize>,
    /// Items of an n-gram may have up to this many others between them.
    pub skips_max: usize,
    /// Where in the pool the n-grams of 1, 2, … items begin.
    pub starts: Vec<usize>,
    /// Column of the result in which each n-gram of the pool is counted.
    pub columns: Vec<usize>,
}

/// What stands in the result for an n-gram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighting {
    /// Its count.
    Count,
    /// Its weight, if it occurs.
    Weight,
    /// The product of both.
    WeightedCount,
}

impl Text {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Concat => "StringConcat",
            Self::Split { .. } => "StringSplit",
            Self::Normalise { .. } => "StringNormalizer",
            Self::FullMatch { .. } => "RegexFullMatch",
            Self::NgramCount(_) => "TfIdfVectorizer",
        }
    }
}
