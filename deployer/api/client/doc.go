// Package client talks to the API of erl-deploy. client.gen.go is made from
// ../openapi.yaml and has every operation as it is; [Fleet] puts the words of
// package fleet over it, with its errors, and is what most programs want.
package client
