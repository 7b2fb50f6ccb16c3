//! `#[bingfa::main]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Ident, ItemFn, Path, Result, Token};

use crate::plain;

const ARGUMENTS: &str = "`workers = N`, `stack_size = BYTES`, `policy = Fifo`, `io = Auto` and \
                         `name = \"...\"`";

/// One `key = value`.
struct Argument {
    key: Ident,
    value: Expr,
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key: Ident = input
            .parse()
            .map_err(|error| Error::new(error.span(), format!("expected one of {ARGUMENTS}")))?;
        if !input.peek(Token![=]) {
            return Err(Error::new(
                key.span(),
                format!("`{key}` needs a value: `{key} = ...`"),
            ));
        }
        input.parse::<Token![=]>()?;
        Ok(Self {
            key,
            value: input.parse()?,
        })
    }
}

impl Argument {
    /// The builder's call that this argument stands for.
    fn call(&self) -> Result<TokenStream> {
        let Self { key, value } = self;
        match key.to_string().as_str() {
            "workers" | "stack_size" | "name" => Ok(quote!(.#key(#value))),
            "policy" => {
                let variant = self.variant(&["Fifo", "Priority", "Mlfq"])?;
                Ok(quote!(.policy(::bingfa::Policy::#variant)))
            }
            "io" => {
                let variant = self.variant(&["Auto", "Uring", "Epoll"])?;
                Ok(quote!(.io(::bingfa::IoBackend::#variant)))
            }
            _ => Err(Error::new(
                key.span(),
                format!("unknown argument `{key}`; there are {ARGUMENTS}"),
            )),
        }
    }

    /// The value as one of a few names.
    fn variant(&self, known: &[&str]) -> Result<Ident> {
        let path: Option<&Path> = match &self.value {
            Expr::Path(path) => Some(&path.path),
            _ => None,
        };
        path.and_then(Path::get_ident)
            .filter(|name| known.iter().any(|known| name == known))
            .cloned()
            .ok_or_else(|| {
                Error::new_spanned(
                    &self.value,
                    format!("`{}` is one of {}", self.key, known.join(", ")),
                )
            })
    }
}

/// The error, and an empty `main` for the one that it took: else rustc would complain that
/// there is none.
pub(crate) fn with_stand_in(error: &Error, item: &TokenStream) -> TokenStream {
    let mut tokens = error.to_compile_error();
    if syn::parse2::<ItemFn>(item.clone()).is_ok_and(|f| f.sig.ident == "main") {
        tokens.extend(quote! {
            #[allow(dead_code)]
            fn main() {}
        });
    }
    tokens
}

pub(crate) fn expand(arguments: TokenStream, item: &TokenStream) -> Result<TokenStream> {
    let function = plain::parse("main", item.clone())?;
    if function.sig.ident != "main" {
        return Err(Error::new_spanned(
            &function.sig.ident,
            "#[bingfa::main] belongs on `fn main`; elsewhere call `bingfa::run(|| ...)`",
        ));
    }
    let arguments = Punctuated::<Argument, Token![,]>::parse_terminated.parse2(arguments)?;
    let mut calls = TokenStream::new();
    for (index, argument) in arguments.iter().enumerate() {
        if arguments.iter().take(index).any(|a| a.key == argument.key) {
            return Err(Error::new(
                argument.key.span(),
                format!("`{}` is given twice", argument.key),
            ));
        }
        calls.extend(argument.call()?);
    }
    let (visibility, output) = (&function.vis, &function.sig.output);
    // The function as it was, attributes and all, inside the one that is called.
    Ok(quote! {
        #visibility fn main() #output {
            #function
            ::bingfa::__private::process_init();
            ::bingfa::__private::run_main(::bingfa::Runtime::builder() #calls, main)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(arguments: TokenStream, item: TokenStream) -> String {
        expand(arguments, &item).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_say_what_to_write_instead() {
        let main = quote!(
            fn main() {}
        );
        let cases = [
            (quote!(wrokers = 2), "unknown argument `wrokers`"),
            (quote!(workers), "`workers` needs a value"),
            (quote!(2), "expected one of `workers = N`"),
            (quote!(policy = Random), "one of Fifo, Priority, Mlfq"),
            (quote!(io = "uring"), "one of Auto, Uring, Epoll"),
            (quote!(workers = 1, workers = 2), "given twice"),
        ];
        for (arguments, message) in cases {
            let error = error(arguments, main.clone());
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn only_a_plain_main_will_do() {
        let cases = [
            (
                quote!(
                    async fn main() {}
                ),
                "remove `async`",
            ),
            (
                quote!(
                    fn main(n: u32) {}
                ),
                "no arguments",
            ),
            (
                quote!(
                    fn main<T>() {}
                ),
                "cannot be generic",
            ),
            (
                quote!(
                    unsafe fn main() {}
                ),
                "cannot be `unsafe`",
            ),
            (
                quote!(
                    fn other() {}
                ),
                "belongs on `fn main`",
            ),
            (
                quote!(
                    struct Main;
                ),
                "belongs on a function",
            ),
        ];
        for (item, message) in cases {
            let error = error(TokenStream::new(), item);
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn arguments_become_calls_of_the_builder() {
        let expanded = expand(
            quote!(workers = 1 + 1, policy = Mlfq, io = Epoll, name = "x",),
            &quote!(
                fn main() {}
            ),
        );
        let expanded = expanded.unwrap().to_string();
        let calls = quote!(.workers(1 + 1).policy(::bingfa::Policy::Mlfq).io(::bingfa::IoBackend::Epoll).name("x"));
        assert!(expanded.contains(&calls.to_string()), "{expanded}");
    }
}
