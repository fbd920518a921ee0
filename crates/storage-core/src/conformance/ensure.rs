//! What laws are said with: each of these ends a law with what was seen instead.

/// Breaks the law unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($how:tt)+) => {
        if !$condition {
            let how = format!($($how)+);
            return Err($crate::conformance::Broken::new(format!("{}:{}: {how}", file!(), line!())));
        }
    };
}

/// Breaks the law unless both are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $what:expr) => {
        let (left, right) = (&$left, &$right);
        ensure!(left == right, "{}: {left:?} is not {right:?}", $what);
    };
}

/// Breaks the law unless the call was refused with this kind.
macro_rules! ensure_refused {
    ($result:expr, $kind:pat, $what:expr) => {
        match $result {
            Err(error) => ensure!(matches!(error.kind(), $kind), "{}: refused with another kind: {error}", $what),
            Ok(_) => ensure!(false, "{}: was not refused", $what),
        }
    };
}
