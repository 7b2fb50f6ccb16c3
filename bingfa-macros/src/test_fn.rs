//! `#[bingfa::test]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Error, Result, ReturnType};

use crate::plain;

pub(crate) fn expand(arguments: &TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(
            arguments,
            "#[bingfa::test] takes no arguments",
        ));
    }
    let mut function = plain::parse("test", item)?;
    if let Some(test) = function.attrs.iter().find(|a| a.path().is_ident("test")) {
        return Err(Error::new_spanned(
            test,
            "#[bingfa::test] already makes #[test] functions; remove `#[test]`",
        ));
    }
    // `ignore` and `should_panic` concern the tests, `cfg` everything, the rest the body.
    // (A `cfg_attr` nearly always adds an `ignore`.)
    let of_tests = |a: &Attribute| {
        ["ignore", "should_panic", "cfg_attr"]
            .iter()
            .any(|name| a.path().is_ident(name))
    };
    let tests: Vec<Attribute> = function.attrs.extract_if(.., |a| of_tests(a)).collect();
    let cfgs = function.attrs.iter().filter(|a| a.path().is_ident("cfg"));

    let name = &function.sig.ident;
    let output = match &function.sig.output {
        ReturnType::Default => TokenStream::new(),
        // Types may not be nameable in the module below.
        ReturnType::Type(..) => quote!(-> impl ::std::process::Termination),
    };
    // The module shares its name with the function: one is a type name, the other a value.
    let module = quote! {
        #(#cfgs)*
        #[cfg(test)]
        mod #name {
            #[::core::prelude::v1::test]
            #(#tests)*
            fn on_thread() #output {
                ::bingfa::__private::test_on_thread(super::#name)
            }

            #[::core::prelude::v1::test]
            #(#tests)*
            fn on_coroutine() #output {
                ::bingfa::__private::test_on_coroutine(super::#name)
            }
        }
    };
    Ok(quote! {
        #[cfg(test)]
        #function
        #module
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(arguments: TokenStream, item: TokenStream) -> String {
        expand(&arguments, item).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_say_what_to_write_instead() {
        let none = TokenStream::new;
        let cases = [
            (
                quote!(workers = 2),
                quote!(
                    fn t() {}
                ),
                "takes no arguments",
            ),
            (
                none(),
                quote!(
                    async fn t() {}
                ),
                "remove `async`",
            ),
            (
                none(),
                quote!(
                    fn t(n: u32) {}
                ),
                "no arguments",
            ),
            (
                none(),
                quote!(
                    fn t<T>() {}
                ),
                "cannot be generic",
            ),
            (
                none(),
                quote!(
                    #[test]
                    fn t() {}
                ),
                "remove `#[test]`",
            ),
            (
                none(),
                quote!(
                    mod t {}
                ),
                "belongs on a function",
            ),
        ];
        for (arguments, item, message) in cases {
            let error = error(arguments, item);
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn attributes_go_where_they_count() {
        let expanded = expand(
            &TokenStream::new(),
            quote!(
                #[ignore]
                #[cfg(unix)]
                #[allow(unused)]
                fn t() {}
            ),
        );
        let expanded = expanded.unwrap().to_string();
        let count = |part: TokenStream| expanded.matches(&part.to_string()).count();
        assert_eq!(count(quote!(#[ignore])), 2, "{expanded}");
        assert_eq!(count(quote!(#[cfg(unix)])), 2, "{expanded}");
        assert_eq!(count(quote!(#[allow(unused)])), 1, "{expanded}");
    }
}
