// Package client talks to the REST interface of a running exporter. Most of it
// is generated from openapi.yaml:
//
//	c, err := client.NewClientWithResponses("https://exporter:9198/api/v1", client.WithBearerToken(token))
//	answer, err := c.GetNodeWithResponse(ctx, "rabbit@mq1")
//	if err := client.Check(answer, err); err != nil { ... } // *client.ProblemError
//	fmt.Println(answer.JSON200.State)
//
// Streams never end, so that they have functions of their own, [Watch] and
// [WatchNotifications], in place of StreamEventsWithResponse and
// StreamNotificationsWithResponse.
package client
