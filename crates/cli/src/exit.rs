//! How a program ends before its end.

/// The wish to end the program with this code; whatever there was to say has been said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub i32);

/// A step that may end the program.
pub type Step<T = ()> = Result<T, Exit>;

/// Prints to standard error and ends the program with code 1.
macro_rules! fail {
    ($($argument:tt)*) => {{
        $crate::console::err!($($argument)*);
        return Err($crate::exit::Exit(1))
    }};
}
pub(crate) use fail;
