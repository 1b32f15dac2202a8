// Package alertmanager keeps Alertmanagers informed of alerts.
//
// It holds no queue: a [Notifier] looks at the alerts that are active now, at
// every change and again in time, and makes each Alertmanager know the same.
// What an Alertmanager was told holds for a lease (endsAt) only and is renewed
// several times within it. So an Alertmanager that was down or was started anew
// learns everything, and when the exporter dies its alerts end by themselves.
//
// Each Alertmanager has a goroutine of its own: one that is slow or refuses
// holds up no other and nothing else.
package alertmanager
