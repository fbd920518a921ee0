//! What the laws are written with.

/// Breaks the law unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::ledger::conformance::Broken::new(format!($($what)+)));
        }
    };
}

/// Breaks the law unless two values are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $($what:tt)+) => {
        match (&$left, &$right) {
            (left, right) => ensure!(left == right, "{}: {left:?}, not {right:?}", format_args!($($what)+)),
        }
    };
}

/// Breaks the law unless a result is an error of this kind.
macro_rules! ensure_refused {
    ($result:expr, $kind:pat, $($what:tt)+) => {
        match $result {
            Err($kind) => {}
            other => ensure!(false, "{}: {other:?}", format_args!($($what)+)),
        }
    };
}
