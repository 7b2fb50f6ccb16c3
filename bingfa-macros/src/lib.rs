//! `#[bingfa::main]` and `#[bingfa::test]`; use them through the `bingfa` crate.
//!
//! Both leave the function's body as it is and only decide what runs it. Mistakes are
//! compile errors at the token that is wrong, and say what to write instead.

#![forbid(unsafe_code)]

mod main_fn;
mod plain;
mod test_fn;

use proc_macro::TokenStream;
use syn::Error;

/// Runs `main` as a coroutine on the main thread, with an 8 MiB stack, beside the workers of
/// the global runtime.
///
/// Arguments, all optional, set up that runtime as `bingfa::RuntimeBuilder` does:
/// `workers = N`, `stack_size = BYTES`, `policy = Fifo | Priority | Mlfq`,
/// `io = Auto | Uring | Epoll`, `name = "..."`. If the runtime cannot be started, the reason
/// goes to standard error and the exit status is 1.
///
/// `main` may return whatever std allows. When it returns, coroutines and threads that are
/// not daemons are waited for.
///
/// ```ignore
/// #[bingfa::main(workers = 2, policy = Mlfq)]
/// fn main() -> std::io::Result<()> {
///     bingfa::thread::sleep(std::time::Duration::from_millis(1));
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = item.into();
    main_fn::expand(arguments.into(), &item)
        .unwrap_or_else(|error| main_fn::with_stand_in(&error, &item))
        .into()
}

/// Makes two tests of a function: `NAME::on_thread`, which calls it on the test's own thread,
/// and `NAME::on_coroutine`, which runs it as a coroutine.
///
/// `BINGFA_CHECK` is on in both. `#[ignore]`, `#[should_panic]` and results work as with
/// `#[test]`.
///
/// ```ignore
/// #[bingfa::test]
/// fn a_sleep_ends() {
///     bingfa::thread::sleep(std::time::Duration::from_millis(1));
/// }
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    test_fn::expand(&arguments.into(), item.into())
        .unwrap_or_else(Error::into_compile_error)
        .into()
}
