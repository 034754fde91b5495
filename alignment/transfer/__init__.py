"""Single-source domain generalisation: domains, training, evaluation and the methods to compare with."""

from alignment.transfer.domains import Domain, check_domain, domain_files, list_domains, load_domain

__all__ = ["Domain", "check_domain", "domain_files", "list_domains", "load_domain"]
