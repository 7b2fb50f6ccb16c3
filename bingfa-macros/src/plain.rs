//! What both attributes ask of their function: that it is a plain one.

use proc_macro2::TokenStream;
use syn::{Error, ItemFn, Result};

/// The function that the attribute (`#[bingfa::KIND]`) stands on.
pub(crate) fn parse(kind: &str, item: TokenStream) -> Result<ItemFn> {
    let function: ItemFn = syn::parse2(item).map_err(|error| {
        Error::new(
            error.span(),
            format!("#[bingfa::{kind}] belongs on a function: {error}"),
        )
    })?;
    let signature = &function.sig;
    let refuse = |tokens: &dyn quote::ToTokens, why: &str| {
        Err(Error::new_spanned(
            tokens,
            format!("#[bingfa::{kind}]: {why}"),
        ))
    };
    if let Some(token) = &signature.asyncness {
        return refuse(
            token,
            "the function runs as plain blocking code; remove `async` and every `.await`",
        );
    }
    if let Some(token) = &signature.constness {
        return refuse(token, "the function cannot be `const`");
    }
    if let Some(token) = &signature.unsafety {
        return refuse(
            token,
            "the function cannot be `unsafe`; put an `unsafe` block into its body",
        );
    }
    if let Some(token) = &signature.abi {
        return refuse(token, "the function must be a plain Rust one, not `extern`");
    }
    if !signature.inputs.is_empty() {
        return refuse(
            &signature.inputs,
            "the function takes no arguments; nobody would pass them",
        );
    }
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        return refuse(
            &signature.generics,
            "the function cannot be generic; nobody would choose the types",
        );
    }
    Ok(function)
}
