//! MODULE: there are no modules, and none can be loaded.

use crate::call::{NodeBody, NodeCall};
use crate::host::LogLevel;
use shoal_protocol::{Arguments, CommandId, ErrorReply};
use shoal_store::Outcome;

pub(super) const BODIES: &[(CommandId, NodeBody)] = &[
    (CommandId::ModuleHelp, help),
    (CommandId::ModuleList, list),
    (CommandId::ModuleLoad, load),
    (CommandId::ModuleLoadex, load),
    (CommandId::ModuleUnload, unload),
];

fn list(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply().array(0);
    Ok(())
}

fn load(call: &mut NodeCall<'_>, mut arguments: Arguments<'_>) -> Outcome {
    let path = String::from_utf8_lossy(arguments.take()?).into_owned();
    call.host.log(LogLevel::Warning, &format!("Module {path} failed to load: this server takes no modules"));
    Err(ErrorReply::new("ERR Error loading the extension. Please check the server logs."))
}

fn unload(_: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    Err(ErrorReply::new("ERR Error unloading module: no such module with that name"))
}

fn help(call: &mut NodeCall<'_>, _: Arguments<'_>) -> Outcome {
    call.reply_help(&[
        "LIST",
        "    The modules: none.",
        "LOAD <path> [<arg> ...]",
        "    Not possible with this server.",
        "LOADEX <path> [[CONFIG NAME VALUE]...] [ARGS ...]",
        "    Not possible with this server.",
        "UNLOAD <name>",
        "    Not possible with this server.",
    ]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Fixture;

    #[test]
    fn there_are_none() {
        let mut fixture = Fixture::with_configuration(&[("enable-module-command", "no")]);
        fixture.check("MODULE LIST", "[]");
        fixture.check_start("MODULE LOAD x", "-ERR MODULE command not allowed.");
        fixture.check_start("MODULE UNLOAD x", "-ERR MODULE command not allowed.");
        fixture.check("MODULE", "-ERR wrong number of arguments for 'module' command");
        let mut fixture = Fixture::with_configuration(&[("enable-module-command", "yes")]);
        fixture.check_all(&[
            ("MODULE LOAD x", "-ERR Error loading the extension. Please check the server logs."),
            ("MODULE UNLOAD x", "-ERR Error unloading module: no such module with that name"),
        ]);
    }
}
