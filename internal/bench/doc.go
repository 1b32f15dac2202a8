// Package bench is `make bench`: what the exporter and the deployer cost,
// measured on real nodes and hosts in some minutes and printed as tables. It has
// tests with the build tag bench only, for these are measurements: they fail
// when something cannot be measured, and not when it is slow.
//
//   - TestPeer: a scrape by /probe and one of RabbitMQ's own prometheus plugin,
//     side by side on one RabbitMQ, idle and busy.
//   - TestGroups: each group of metrics, and the whole page, on a node with a
//     million idle processes and on one with 100,000 that keep it busy.
//   - TestInspections: what the agent looks at once a minute for alarms.
//   - TestSaturated: a node with 100,000 processes that want to run.
//   - TestFleet: 100 nodes.
//   - TestAttachments: one node attached and left a thousand times.
//   - TestDeploy: 1, 10 and 30 nodes deployed to ten hosts.
//   - TestClouds: the paper's seven nodes at four providers, by step.
//   - TestHundredMachines: calls of the clouds' APIs, and the deployer's memory.
//   - TestLogsIntoLoki: how many log entries a second get from one node into Loki.
//   - TestLogsCost: what an entry costs the node, beside its own file handler.
//   - TestLogsFlood: 100,000 entries a second for a minute, with our handler and
//     without.
//   - TestUpload: an archive of 500 MB, beside scp, and the memory it takes.
package bench
