# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors

PYTHON = /usr/bin/python3
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' ctdb_etcd/__init__.py)

DESTDIR =
prefix = /usr
libexecdir = $(prefix)/libexec
sysconfdir = /etc
mandir = $(prefix)/share/man
docdir = $(prefix)/share/doc/ctdb-etcd
selinuxdir = $(prefix)/share/selinux/packages

# What narrows "check" and "check-unit": files or test names, and options of pytest.
TESTS ?=
PYTEST_ARGS ?=
# Another etcd than the distribution's; tests/releases/build-etcd builds some.
ETCD ?=
ETCD_TESTS = tests/etcd tests/cluster tests/chaos
# Tests at a time. Most of them wait for something, so more than there are processors.
JOBS ?= 10

# ip, iptables and ctdbd are there, and "su" does not always set the path.
export PATH := $(PATH):/usr/sbin:/sbin
export PYTHONDONTWRITEBYTECODE = 1

SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)
AS_ROOT = $(SUDO) env PYTHONDONTWRITEBYTECODE=1 ETCD="$(ETCD)"
PYTEST = $(PYTHON) -m pytest $(PYTEST_ARGS)

# $(call require,MODULES,PURPOSE): name the Python modules that are missing, and the command that installs them.
require = @missing=; for module in $(1); do $(PYTHON) -c "import $$module" 2>/dev/null || missing="$$missing $$module"; done; \
	[ -z "$$missing" ] || { echo "make $@: $(PYTHON) lacks$$missing; run as root: .ci/install-deps $(2)" >&2; exit 1; }

# The helper runs with python3 -I, which ignores PYTHONDONTWRITEBYTECODE.
REMOVE_LEFTOVERS = find . -type d \( -name __pycache__ -o -name .hypothesis \
	-o -name .mypy_cache -o -name .pytest_cache \) -prune -exec rm -rf {} +

# Found through the XML catalog: the distribution's own copy; nothing is downloaded.
STYLESHEET = http://docbook.sourceforge.net/release/xsl/current/manpages/docbook.xsl

# What git knows of the working tree, or the last commit if nothing is changed. The same commit gives the same bytes.
TARBALL = dist/ctdb-etcd-$(VERSION).tar.gz

help:
	@echo "make demo        show the lock at work: three CTDB nodes and etcd on this machine"
	@echo "make check       lint and all tests; TESTS='tests/etcd/lock' PYTEST_ARGS='-x' narrow it;"
	@echo "                 ETCD=PATH: what needs etcd, on another one (also chaos, bench and demo);"
	@echo "                 tests/releases/build-etcd VERSION builds some"
	@echo "make check-long  a holder's long life in ten minutes: all that may change under it, at random; SECONDS=60"
	@echo "make check-vm    the package on two whole machines with SELinux, emulated by qemu"
	@echo "make check-samba CTDB's own tests, from Debian's source package of Samba, with this lock in place of CTDB's"
	@echo "make check-unit  only the tests that need neither root nor etcd, in seconds"
	@echo "make chaos       the lock under a storm of faults: SECONDS=600 SEED=1 MIX=v3,v3,auto OUTPUT=DIR"
	@echo "                 SABOTAGE='no fence' breaks the program first; SABOTAGE=all: in every known way"
	@echo "make model       the safety argument, checked by Spin state by state; QUICK=1: its part of make check;"
	@echo "                 SABOTAGE='no fence' takes a rule away; SABOTAGE=all: each of them in turn"
	@echo "make mutants     the program with small faults, one at a time: a test must find each; MODULE=fence"
	@echo "                 narrows it; QUICK=1: only each module's own unit tests; an interrupted run goes on"
	@echo "make coverage    which branches of the program its tests take; TESTS=tests/unit narrows it"
	@echo "make bench       the times of the helper beside those of others, in ten minutes; QUICK=1: in two;"
	@echo "                 OUTPUT=tests/bench renews what README shows"
	@echo "make lint        flake8, mypy, codespell and proselint"
	@echo "make install     install the helper; DESTDIR, prefix, libexecdir, sysconfdir change where"
	@echo "make uninstall   remove what make install has installed, except the configuration file"
	@echo "make man         make the man page, man/ctdb-etcd.7, with xsltproc and DocBook's stylesheets"
	@echo "make deb         build the Debian package into dist/"
	@echo "make rpm         build the RPM package into dist/"
	@echo "make dist        make the source archive in dist/"
	@echo "make clean       remove what the above left in the tree, packages and the results of mutants included"
	@echo
	@echo "The check targets but check-unit, and demo, chaos, model, coverage, mutants, bench, deb and rpm first install what"
	@echo "is missing, with apt or dnf; check-unit and lint only name it. demo, check, check-samba, chaos and bench need root"
	@echo "for network namespaces, check-vm to make a disk, and ask sudo for it."

demo:
	.ci/install-deps demo
	$(AS_ROOT) $(PYTHON) -m tests.demo; status=$$?; $(SUDO) $(REMOVE_LEFTOVERS); exit $$status

check:
	.ci/install-deps check
	$(if $(ETCD),,$(MAKE) --no-print-directory lint)
	$(if $(ETCD)$(TESTS),,$(PYTHON) docs/model/check.py --quick)
	$(AS_ROOT) $(PYTEST) -n $(JOBS) --dist loadgroup $(or $(TESTS),$(if $(ETCD),$(ETCD_TESTS))); status=$$?; $(SUDO) $(REMOVE_LEFTOVERS); exit $$status

check-long:
	.ci/install-deps check
	$(AS_ROOT) SOAK_SECONDS=$(or $(SECONDS),600) $(PYTEST) -s tests/etcd/lock/test_soak.py; \
		status=$$?; $(SUDO) $(REMOVE_LEFTOVERS); exit $$status

# The distribution's etcd and CTDB in machines of their own, on a disk that root makes once a week.
check-vm:
	.ci/install-deps vm
	DEB_BUILD_OPTIONS=nocheck $(MAKE) --no-print-directory deb
	image=$$($(AS_ROOT) tests/vm/image) && VM_IMAGE=$$image VM_PACKAGE=$$(ls -t dist/ctdb-etcd_*_all.deb | head -1) \
		$(PYTEST) -x -s $(or $(TESTS),tests/vm); status=$$?; $(REMOVE_LEFTOVERS); exit $$status

check-samba:
	.ci/install-deps samba
	$(AS_ROOT) $(PYTHON) -m tests.samba $(TESTS); status=$$?; $(SUDO) $(REMOVE_LEFTOVERS); exit $$status

# In seconds: one in twenty examples of the fuzz tests, which take most of the time; "make check" has them all.
check-unit: export FUZZ ?= quick
check-unit:
	$(call require,configobj pytest,unit)
	$(PYTEST) $(or $(TESTS),tests/unit $(shell $(PYTHON) -c "import xdist; print('-n 2')" 2>/dev/null)); status=$$?; $(REMOVE_LEFTOVERS); exit $$status

# The names of sabotages have blanks, so the environment carries them.
chaos: export SABOTAGE ?=
chaos:
	.ci/install-deps check
	$(AS_ROOT) $(PYTHON) -m tests.chaos --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) \
		$(if $(MIX),--mix $(MIX)) $(if $(OUTPUT),--output "$(abspath $(OUTPUT))") --sabotage "$$SABOTAGE"

model: export SABOTAGE ?=
model:
	.ci/install-deps model
	$(PYTHON) docs/model/check.py $(if $(QUICK),--quick) --sabotage "$$SABOTAGE"

coverage:
	.ci/install-deps check
	$(AS_ROOT) $(PYTHON) -m tests.coverage $(PYTEST_ARGS) -q -n $(JOBS) --dist loadgroup $(or $(TESTS),tests/unit tests/etcd)

mutants:
	.ci/install-deps check
	$(AS_ROOT) $(PYTHON) -m tests.mutants --module "$(MODULE)" --jobs $(or $(WORKERS),2) $(if $(QUICK),--quick)

bench:
	.ci/install-deps check
	$(AS_ROOT) $(PYTHON) -m tests.bench $(if $(QUICK),--quick) $(if $(OUTPUT),--output "$(abspath $(OUTPUT))"); \
		status=$$?; $(SUDO) $(REMOVE_LEFTOVERS); exit $$status

lint:
	$(call require,flake8 mypy dns pytest proselint,lint)
	$(PYTHON) -m flake8 ctdb_etcd_lock.py ctdb_etcd tests docs .ci/prose
	$(PYTHON) -m mypy --cache-dir=/dev/null
	codespell || { echo "make lint: codespell found words, or is missing: .ci/install-deps lint" >&2; exit 1; }
	$(PYTHON) .ci/prose

man: man/ctdb-etcd.7

man/ctdb-etcd.7: man/ctdb-etcd.7.xml
	xsltproc --nonet --param man.output.quietly 1 -o man/ $(STYLESHEET) $<

dist:
	mkdir -p dist
	@git rev-parse -q --verify HEAD >/dev/null || { echo "make $@: this needs a git checkout that is yours" >&2; exit 1; }
	commit=$$(git stash create); git -c tar.umask=022 archive --format=tar --prefix=ctdb-etcd-$(VERSION)/ \
		-o dist/archive.tar $${commit:-HEAD}
	gzip -9n < dist/archive.tar > $(TARBALL)
	rm dist/archive.tar

deb: dist
	.ci/install-deps packaging
	tests/packages/build-deb $(TARBALL)

rpm: dist
	.ci/install-deps packaging
	tests/packages/build-rpm $(TARBALL)

install: man
	install -d "$(DESTDIR)$(libexecdir)/ctdb" "$(DESTDIR)$(sysconfdir)/ctdb"
	install -m 755 ctdb_etcd_lock.py "$(DESTDIR)$(libexecdir)/ctdb/ctdb_etcd_lock"
	rm -rf "$(DESTDIR)$(libexecdir)/ctdb/ctdb_etcd"
	for wing in $(sort $(dir $(wildcard ctdb_etcd/*.py ctdb_etcd/*/*.py))); do \
		install -d "$(DESTDIR)$(libexecdir)/ctdb/$$wing" && \
		install -m 644 "$$wing"*.py "$(DESTDIR)$(libexecdir)/ctdb/$$wing" || exit 1; \
	done
	install -d "$(DESTDIR)$(mandir)/man7" "$(DESTDIR)$(docdir)/docs"
	install -m 644 man/ctdb-etcd.7 "$(DESTDIR)$(mandir)/man7"
	install -m 644 README.md NEWS SECURITY.md CONTRIBUTING.md "$(DESTDIR)$(docdir)"
	install -m 644 docs/DESIGN.md docs/testing.md "$(DESTDIR)$(docdir)/docs"
	install -d "$(DESTDIR)$(selinuxdir)"
	install -m 644 rpm/selinux/ctdb_etcd.cil "$(DESTDIR)$(selinuxdir)"
	@conf="$(DESTDIR)$(sysconfdir)/ctdb/ctdb_etcd_lock.conf"; \
	if [ -e "$$conf" ]; then \
		echo "kept as it is: $$conf"; \
	else \
		echo "install -m 600 etc/ctdb_etcd_lock.conf $$conf"; \
		install -m 600 etc/ctdb_etcd_lock.conf "$$conf"; \
	fi

uninstall:
	rm -rf "$(DESTDIR)$(libexecdir)/ctdb/ctdb_etcd_lock" "$(DESTDIR)$(libexecdir)/ctdb/ctdb_etcd" "$(DESTDIR)$(docdir)"
	rm -f "$(DESTDIR)$(mandir)/man7/ctdb-etcd.7" "$(DESTDIR)$(selinuxdir)/ctdb_etcd.cil"
	@echo "kept: $(DESTDIR)$(sysconfdir)/ctdb/ctdb_etcd_lock.conf"

clean:
	$(REMOVE_LEFTOVERS)
	rm -rf dist man/ctdb-etcd.7

.PHONY: help demo check check-long check-samba check-vm check-unit chaos model coverage mutants bench lint man dist deb rpm install uninstall clean
