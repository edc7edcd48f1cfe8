"""Mininet's hosts on Linux bridges, up and down, in seconds: the peer of BenchmarkUp.

It is run in a network namespace of its own, so that neither what it makes nor what
it cleans up is anybody else's. A bridge of Linux has 1024 ports.
"""
import sys
import time

from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import Topo


class Hosts(Topo):
    def build(self, n, per_bridge=1000):
        for i in range(n):
            if i % per_bridge == 0:
                bridge = self.addSwitch("s%d" % (i // per_bridge + 1))
            self.addLink(self.addHost("h%d" % i), bridge)


start = time.monotonic()
net = Mininet(topo=Hosts(int(sys.argv[1])), switch=LinuxBridge, controller=None)
net.start()
up = time.monotonic()
net.stop()
print("%.3f %.3f" % (up - start, time.monotonic() - up))
