{application, kv, [
    {description, "A key-value store for tests of the deployer"},
    {vsn, "1.0.0"},
    {modules, [kv, kv_ctl]},
    {registered, [kv_sup, kv]},
    {applications, [kernel, stdlib, sasl]},
    {mod, {kv, []}}
]}.
