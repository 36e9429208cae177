//! Log set-up, notable events and metrics.
