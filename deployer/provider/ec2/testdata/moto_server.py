"""Moto's EC2, right in what it is not of itself: client tokens count, a security
group in use cannot be deleted, a key pair can be deleted by its id, the console shows
a host key, and unknown images and hardware are refused.

Usage: moto_server.py PORT HOST_KEY"""

import os
import sys
import threading

os.environ["MOTO_ENABLE_AMI_VALIDATION"] = "true"
os.environ["MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION"] = "true"
os.environ["MOTO_ENABLE_KEYPAIR_VALIDATION"] = "true"

from moto.core.responses import ActionResult
from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models import EC2Backend
from moto.ec2.responses import general
from moto.ec2.responses.key_pairs import KeyPairs
from moto.server import main

port, host_key = sys.argv[1:]
run_instances, delete_group = EC2Backend.run_instances, EC2Backend._delete_security_group
delete_key = KeyPairs.delete_key_pair
reservations, lock = {}, threading.Lock()


def run_once(self, *args, **kwargs):
    token = kwargs.get("client_token")
    with lock:
        if token not in reservations:
            reservations[token] = run_instances(self, *args, **kwargs)
        return reservations[token]


def delete_unused(self, vpc_id, group_id):
    for instance in self.all_instances():
        groups = {g.id for nic in instance.nics.values() for g in nic.group_set} | {g.id for g in instance.security_groups}
        if instance._state.name != "terminated" and group_id in groups:
            raise DependencyViolationError(f"resource {group_id} has a dependent object")
    return delete_group(self, vpc_id, group_id)


def delete_key_by_id(self):
    wanted = self._get_param("KeyPairId")
    names = [name for name, pair in self.ec2_backend.key_pairs.items() if pair.id == wanted]
    for name in names:
        self.ec2_backend.delete_key_pair(name)
    return ActionResult({"Return": True, "KeyPairId": wanted}) if names else delete_key(self)


EC2Backend.run_instances = run_once
EC2Backend._delete_security_group = delete_unused
KeyPairs.delete_key_pair = delete_key_by_id
general.SAMPLE_CONSOLE_OUTPUT = (
    f"-----BEGIN SSH HOST KEY KEYS-----\n{host_key} root@host\n-----END SSH HOST KEY KEYS-----\nhost login: "
)
main(["-H", "127.0.0.1", "-p", port])
