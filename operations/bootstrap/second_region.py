"""Makes a second region known to the first one, whose Front Door and database it shares."""

from operations.bootstrap.hub import Hub
from operations.bootstrap.site import Site
from shared.errors import ConfigurationError

SETTING = "second_origin_host"


class SecondRegion:
    """What the first region's stack must know of this one, before anything can run here."""

    def __init__(self, site: Site, hub: Hub) -> None:
        self._site = site
        self._hub = hub
        self._primary = site.tenant.primary

    def is_known(self) -> bool:
        """Whether the first region was deployed from a commit that names this one as the second origin.

        The same run has made this region's logins, because the variable SECOND_REGIONS is older.
        """
        host = self._site.outputs().get("app_host")
        return host is not None and self._hub.deployed_settings(self._primary).get(SETTING) == host

    def make_known(self) -> None:
        """Names this region's app as the second origin, and runs the workflow Deploy for the first one.

        The deployment makes this region's logins in the first one's database, from which they replicate.
        """
        site, hub, primary = self._site, self._hub, self._primary
        host = site.output("app_host")
        if site.settings(primary).get(SETTING) != host:
            if not hub.has_stack_file(primary):
                raise ConfigurationError(
                    f"infra/Pulumi.{primary}.yaml is not that of main, and must not replace it: run git pull."
                )
            site.set(SETTING, host, stack=primary)
        if not hub.has_stack_file(primary):
            hub.push_stack_file(primary)
        hub.deploy(primary)
