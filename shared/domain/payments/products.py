"""Maps what vendors sell to our plans, as the setting PAYMENT_PLANS says."""

from collections.abc import Iterable, Mapping

from shared.domain.payments.history import PaymentState
from shared.errors import NotFound


def plan_of(state: PaymentState, products: Mapping[str, str], plans: Iterable[str]) -> str:
    """The plan that was bought; raises NotFound, whose text tells the operator what to set."""
    bought = [f"{state.provider}:{each}" for each in state.products]
    plan = next((products[each] for each in bought if each in products), None)
    if plan is None:
        named = " or ".join(bought[:2]) or "(the vendor named none)"
        raise NotFound(f"PAYMENT_PLANS has no plan for {named}: add it, then run this event again.")
    if plan not in plans:
        raise NotFound(f"PAYMENT_PLANS names the plan {plan}, which does not exist: mend it, then run again.")
    return plan
