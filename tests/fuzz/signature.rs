//! The functions of the extension as the catalogs list them, so that none is forgotten.

use postgres::Client;

/// A function or procedure.
pub struct Function {
    /// Schema and name, quoted where they have to be.
    pub name: String,
    pub kind: Kind,
    pub arguments: Vec<Argument>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Function,
    Procedure,
    /// It can only be called by a trigger.
    Trigger,
}

/// An argument that callers give.
pub struct Argument {
    pub name: String,
    pub sql_type: String,
    /// It may be left out.
    pub has_default: bool,
}

/// All functions that belong to the extension.
pub fn functions(session: &mut Client) -> Vec<Function> {
    let rows = session
        .query(
            "SELECT format('%I.%I', n.nspname, p.proname),
                    CASE WHEN p.prorettype = 'trigger'::regtype THEN 't' ELSE p.prokind::text END,
                    ARRAY(SELECT coalesce(name, '')
                            FROM unnest(p.proargnames, p.proargmodes::text[]) WITH ORDINALITY AS a (name, mode, n)
                           WHERE coalesce(mode, 'i') IN ('i', 'b', 'v') ORDER BY a.n),
                    ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (t, n) ORDER BY a.n),
                    p.pronargdefaults
               FROM pg_depend d
               JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pgqueue'
               JOIN pg_proc p ON p.oid = d.objid
               JOIN pg_namespace n ON n.oid = p.pronamespace
              WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
              ORDER BY p.proname, p.proargtypes::text",
            &[],
        )
        .unwrap();
    rows.iter()
        .map(|row| {
            let name: String = row.get(0);
            let kind = match row.get::<_, &str>(1) {
                "f" => Kind::Function,
                "p" => Kind::Procedure,
                "t" => Kind::Trigger,
                other => panic!("{name} is of kind {other}, which nobody calls yet"),
            };
            let arguments = arguments(&name, row.get(2), row.get(3), row.get::<_, i16>(4) as usize);
            Function { name, kind, arguments }
        })
        .collect()
}

fn arguments(function: &str, names: Vec<String>, types: Vec<String>, defaults: usize) -> Vec<Argument> {
    assert_eq!(names.len(), types.len(), "every argument of {function} has a name");
    let required = types.len() - defaults;
    names
        .into_iter()
        .zip(types)
        .enumerate()
        .map(|(n, (name, sql_type))| Argument { name, sql_type, has_default: n >= required })
        .collect()
}
