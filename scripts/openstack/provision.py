"""Makes what the tests find in a cloud, where it is not there yet.

provision.py identity    users, services and endpoints: all that needs Keystone alone
provision.py resources   an image, flavours, networks and a router
"""

import os
import sys
import time

import keystoneauth1.exceptions
import openstack

HOST = os.environ["OPENSTACK_HOST"]
REGION = "RegionOne"
# Name, type, URL.
SERVICES = [
    ("glance", "image", f"http://{HOST}:9292"),
    ("nova", "compute", f"http://{HOST}:8774/v2.1"),
    ("placement", "placement", f"http://{HOST}:8778"),
    ("neutron", "network", f"http://{HOST}:9696"),
]


def eventually(what, f, limit=240):
    """Calls f until it returns something: services take turns in starting."""
    deadline, last = time.monotonic() + limit, None
    while time.monotonic() < deadline:
        try:
            made = f()
            if made:
                return made
        except (openstack.exceptions.SDKException, keystoneauth1.exceptions.ClientException) as e:
            last = e
        time.sleep(0.5)
    sys.exit(f"{what} is not there after {limit} seconds: {last}")


def user(c, name, password, project, roles):
    there = c.identity.find_user(name) or c.identity.create_user(
        name=name, password=password, default_project_id=project.id, domain_id="default")
    for role in roles:
        c.identity.assign_project_role_to_user(project, there, c.identity.find_role(role))


def identity(c):
    project = lambda name: c.identity.find_project(name) or c.identity.create_project(name=name, domain_id="default")
    eventually("Keystone", lambda: c.identity.find_role("member"))
    for name, kind, url in SERVICES:
        user(c, name, os.environ["SERVICE_PASSWORD"], project("service"), ["admin"])
        service = c.identity.find_service(name) or c.identity.create_service(name=name, type=kind)
        if not list(c.identity.endpoints(service_id=service.id)):
            c.identity.create_endpoint(service_id=service.id, interface="public", region_id=REGION, url=url)
    user(c, "user", os.environ["USER_PASSWORD"], project("project"), ["member"])


def resources(c):
    if not eventually("Glance", lambda: [list(c.image.images())])[0]:
        image = c.image.create_image(
            name="Debian 12", disk_format="raw", container_format="bare", visibility="public", data=b"not a disk")
        eventually("the image", lambda: c.image.get_image(image.id).status == "active")
    eventually("Nova", lambda: [list(c.compute.flavors())])
    for name, disk in ("standard.xsmall", 1), ("standard.huge", 10**7):
        # No host has room for the huge one; of disks there is no quota.
        c.compute.find_flavor(name) or c.compute.create_flavor(name=name, ram=512, vcpus=1, disk=disk)
    eventually("Neutron", lambda: [list(c.network.networks())])
    network(c, "external", "198.18.0.0/16", {"is_router_external": True}, gateway=True)
    inner = network(c, "private", "10.45.0.0/16", {"is_shared": True})
    if not c.network.find_router("router"):
        router = c.network.create_router(
            name="router", external_gateway_info={"network_id": c.network.find_network("external").id})
        c.network.add_interface_to_router(router, subnet_id=inner.id)
    # The host of the last start is remembered, so that it must have told of itself since this one.
    eventually("a host of Nova's fake driver", lambda: any(
        s.state == "up" and s.updated_at >= os.environ["BEGUN"] for s in c.compute.services(binary="nova-compute")))


def network(c, name, cidr, kind, gateway=False):
    net = c.network.find_network(name) or c.network.create_network(name=name, **kind)
    return c.network.find_subnet(name) or c.network.create_subnet(
        name=name, network_id=net.id, ip_version=4, cidr=cidr, is_dhcp_enabled=not gateway)


{"identity": identity, "resources": resources}[sys.argv[1]](openstack.connect(cloud="admin"))
