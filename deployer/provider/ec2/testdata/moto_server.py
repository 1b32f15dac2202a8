"""A moto server on a free port of the loopback address, which asks for real
signatures of one user. It prints where it is and with what to log in as one line
of JSON, and ends with its standard input.

Moto differs from EC2 in what the providers' conformance suite rests on. These
are mended here, and nothing else:

- it makes another machine for a client token that it has seen already;
- it deletes security groups that machines are in;
- it deletes no key pair by its id, and says that it did.

It stays as it is that addresses are made up and nobody answers at them, and that
the console's text is always the same, without a host key.
"""

import json
import os
import sys
import threading

# Before moto reads them: every call needs a signature, and only what there is can
# be asked for.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"
for name in "EC2_ENABLE_INSTANCE_TYPE", "ENABLE_AMI", "ENABLE_KEYPAIR":
    os.environ[f"MOTO_{name}_VALIDATION"] = "true"

from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.ec2 import ec2_backends
from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models.instances import InstanceBackend
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.ec2.responses.key_pairs import KeyPairs
from moto.iam.models import iam_backends
from moto.server import ThreadedMotoServer

REGION = "us-east-1"

plain_run = InstanceBackend.run_instances
plain_delete = SecurityGroupBackend.delete_security_group
lock, reservations = threading.Lock(), {}


def run_instances(self, *args, **kwargs):
    with lock:
        token = kwargs["client_token"]
        if token not in reservations:
            reservations[token] = plain_run(self, *args, **kwargs)
        return reservations[token]


def delete_security_group(self, name=None, group_id=None):
    for machine in self.all_instances():
        if machine.state != "terminated" and group_id in [g.id for nic in machine.nics.values() for g in nic.group_set]:
            raise DependencyViolationError(f"resource {group_id} has a dependent object")
    return plain_delete(self, name, group_id)


def delete_key_pair(self):
    name = self._get_param("KeyName")
    for pair in list(self.ec2_backend.key_pairs.values()):
        if pair.key_name == name or pair.id == self._get_param("KeyPairId"):
            self.ec2_backend.delete_key_pair(pair.key_name)
    return ActionResult({"Return": True})


InstanceBackend.run_instances = run_instances
SecurityGroupBackend.delete_security_group = delete_security_group
KeyPairs.delete_key_pair = delete_key_pair

iam = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
iam.create_user(REGION, "deployer")
iam.put_user_policy("deployer", "all", json.dumps({
    "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}]}))
key = iam.create_access_key("deployer")

server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(json.dumps({
    "url": "http://%s:%d" % server.get_host_and_port(), "region": REGION,
    "access_key": key.access_key_id, "secret_key": key.secret_access_key,
    "image": next(iter(ec2_backends[DEFAULT_ACCOUNT_ID][REGION].amis)),
    "subnet": ec2_backends[DEFAULT_ACCOUNT_ID][REGION].get_default_subnets()["us-east-1a"].id,
}), flush=True)
sys.stdin.read()
