//! Bytes of a tensor whose shape has symbols.

use std::fmt;
use std::sync::Arc;

use crate::graph::Value;
use crate::types::Dim;

/// Bytes of a tensor: a known number for each unit of the symbols' product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Bytes where every symbol is 1.
    pub unit_bytes: u64,
    pub symbols: Vec<Arc<str>>,
}

impl Extent {
    /// Returns the extent of a value; `None` where dtype, rank or a size without a name is not known.
    pub fn of(value: &Value) -> Option<Self> {
        let mut extent = Self {
            unit_bytes: value.dtype?.size()? as u64,
            symbols: Vec::new(),
        };
        for dim in &value.shape.as_ref()?.0 {
            match dim {
                Dim::Fixed(size) => {
                    extent.unit_bytes = extent.unit_bytes.saturating_mul(*size as u64)
                }
                Dim::Symbol(symbol) => extent.symbols.push(symbol.clone()),
                Dim::Any => return None,
            }
        }
        Some(extent)
    }
}

/// Written `2048 × batch`.
impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.unit_bytes)?;
        self.symbols
            .iter()
            .try_for_each(|symbol| write!(f, " × {symbol}"))
    }
}
