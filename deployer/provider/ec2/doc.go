// Package ec2 is the provider of Amazon EC2, and of clouds that speak its API.
//
// Everything that it makes carries tags from the call on that makes it:
// erl-deploy:owner, erl-deploy:family and, for what belongs to one node,
// erl-deploy:node. A family has a key pair and a security group in each VPC of
// its domains, both named erl-deploy-FAMILY. The token of a request becomes
// EC2's client token, so that a repeated request makes one machine.
package ec2
