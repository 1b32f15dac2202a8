// Package openstack is the provider of clouds that run OpenStack. Three kinds
// share it: hp, whose machines are reached by floating addresses; rackspace,
// whose cloud gives the addresses and whose machines have no user but root; and
// openstack, with a switch for each of these.
//
// Nova has no tags in all of its versions, and no token that makes a create
// repeatable. What a machine is for, and the token, are in its metadata, and it
// is looked up before it is made. Floating addresses and security groups carry
// theirs in the description, key pairs in the comment of the public key.
package openstack
