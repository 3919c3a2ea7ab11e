"""-cpu: the models and switches, against QEMU: exit status, HWCAP, riscv_hwprobe, and which
instructions a probe program finds."""

import os

import pytest

from conftest import TESTS, run

# What both have. QEMU's vector extension is masked out of what it tells.
SPECS = """
    max rv64 rv64i rva22u64 rva22s64 sifive-u54 sifive-e51 shakti-c xiangshan-nanhu rv32 nosuch
    rv64i,m=on rv64i,a=on rv64i,f=on rv64i,d=on rv64i,c=on rv64i,g=on rv64i,zba=on
    rv64i,zbb=on,zbs=on rv64i,zbkc=on rv64i,zfa=on rv64i,zfh=on rv64i,zfhmin=on rv64i,zcb=on
    rv64i,zcmop=on rv64i,zimop=on rv64i,zicond=on rv64i,zacas=on rv64i,zabha=on rv64i,zawrs=on
    rv64i,zk=on rv64i,zkn=on rv64i,zks=on rv64i,zkr=on rv64i,zca=on rv64i,zcd=on rv64i,zmmul=on
    rv64i,zaamo=on rv64i,zalrsc=on rv64i,zicsr=on rv64i,zicntr=on rv64i,zicbom=on rv64i,zicboz=on
    rv64i,zifencei=on rv64i,rva22u64=on rv64i,c=on,f=on rv64i,c=on,d=on rv64i,zcb=on,c=off
    rv64i,f=on,zicsr=off rv64i,d=on,f=off rv64i,zfhmin=on,f=off rv64i,m=on,zmmul=off
    rv64i,a=on,zaamo=off rv64i,c=on,zca=off
    max,m=off max,a=off max,c=off max,f=off max,zicsr=off max,zifencei=off max,zba=off max,zfa=off
    max,zfh=off max,zca=off max,zcd=off max,zaamo=off max,zmmul=off max,b=off max,zkn=off
    max,v=off max,zacas=off max,a=off,zacas=off max,u=off max,s=off max,h=off max,i=off
    rv64,f=off rv64,d=off rv64,c=off rv64,m=off rv64,a=off rv64,a=off,zawrs=off rv64,zicsr=off
    rv64,zcb=on rv64,zcb=on,c=off rv64,zacas=on rv64,zabha=on rv64,zkn=on,zbkb=off rv64,zks=on
    rv64,b=off rv64,g=off rv64,rva22u64=on rv64,rva22u64=off rv64,zba=off,zba=on
    rv64,zba=on,zba=off rv64,zba=maybe rv64,zba rv64, rv64,zbq=on rv64,e=on rv64,zcf=on
    rv64,sscofpmf=on rv64,smaia=on rv64,svadu=off rv64,svnapott=on rv64,smaiaa=on rv64,ssxyz=on
    rv64,sv39=on rv64,pmp=off rv64,mmu=off rv64,mmu=x rv64,s=off rv64,u=off rv64i,s=on rv64i,u=on
    rva22u64,c=off rva22u64,zba=off rva22u64,zfh=on sifive-u54,c=off sifive-u54,f=on
    sifive-u54,zba=on sifive-u54,zba=off sifive-e51,f=on xiangshan-nanhu,zacas=on
""".split()

HWCAP_V = 1 << 21
# Bits of riscv_hwprobe that both know: up to 35 without those of vectors and Ztso.
IMA = sum(1 << bit for bit in range(36) if bit not in (2, *range(17, 27), 30, 31, 33))


@pytest.fixture(scope="module")
def probe(cross_gcc, tmp_path_factory):
    path = tmp_path_factory.mktemp("cpu") / "cpu_probe"
    done = run([cross_gcc, "-O1", "-march=rv64i", "-mabi=lp64", "-nostdlib", "-static",
                "-fno-stack-protector", os.path.join(TESTS, "linux_user", "cpu_probe.c"),
                "-o", path])
    assert done.status == 0, done.error
    return path


def facts(done):
    """(status, HWCAP, hwprobe, instructions) of a probe."""
    if done.status:
        return (done.status, 0, 0, set())
    lines = dict((line + " ").split(" ", 1) for line in done.text.splitlines())
    return (0, int(lines["hwcap"], 16) & ~HWCAP_V, int(lines["ima"], 16) & IMA,
            set(lines["insns"].split()))


@pytest.mark.parametrize("spec", SPECS)
def test_as_qemu(nandu, qemu, probe, spec):
    ours, theirs = run([nandu, "-cpu", spec, probe]), run([qemu, "-cpu", spec, probe])
    assert facts(ours) == facts(theirs), (ours, theirs)
    if ours.status:
        assert ours.status == 1 and len(ours.error.splitlines()) == 1, ours


@pytest.mark.parametrize("wrong, right", [("svnapott", "svnapot"), ("smaiaa", "smaia"),
                                          ("zbz", "zba"), ("zicbon", "zicbom"),
                                          ("zvkge", "zvkg")])
def test_nearest(nandu, probe, wrong, right):
    done = run([nandu, "-cpu", f"rv64,{wrong}=on", probe])
    assert done.status == 1 and f"no property '{wrong}'; did you mean '{right}'?" in done.error


CPUINFO = """
#include <stdio.h>
#include <string.h>
int main(void)
{
    char line[1000];
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof(line), f))
        if (!strncmp(line, "isa", 3))
            return fputs(strchr(line, ':') + 2, stdout) < 0;
    return 1;
}
"""


@pytest.mark.parametrize("spec", ["max", "rv64", "rv64,zcb=on,zk=on", "rva22u64,zfh=on"])
def test_cpuinfo(nandu, probe, cross_gcc, tmp_path, spec):
    """The ISA string names what the probe finds."""
    source, program = tmp_path / "cpuinfo.c", tmp_path / "cpuinfo"
    source.write_text(CPUINFO)
    assert run([cross_gcc, "-static", "-o", program, source]).status == 0
    first, *rest = run([nandu, "-cpu", spec, program]).text.strip().split("_")
    for insn in facts(run([nandu, "-cpu", spec, probe]))[3] - {"zbkc", "zbb-andn"}: # in others too
        name = {"mdiv": "m"}.get(insn, insn.split("-")[0])
        assert name in (first[4:] if len(name) == 1 else rest), (insn, first, rest)
