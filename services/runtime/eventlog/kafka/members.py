"""Who consumes a topic of Kafka: the members of the group and the partitions that each was given."""

from services.runtime.eventlog.kafka.groups import KafkaGroupPositions
from services.runtime.eventlog.lag import Membership, Owner


class KafkaGroupMembers:
    """The members of any group, as its coordinator knows them (port: `lag_observer.GroupMembers`).

    A consumer that died stays a member until its session times out (6 s with ours), and shows as STALLED until then.
    """

    def __init__(self, groups: KafkaGroupPositions) -> None:
        self._groups = groups

    async def membership(self, group: str, topic: str) -> Membership:
        """Return the members and whose each partition is; during a rebalance nobody's."""
        members = (await self._groups.group_members(group)).members
        owners = {
            partition: Owner(client_id=member.client_id, host=member.host)
            for member in members
            for partition in member.partitions.get(topic, ())
        }
        return Membership(members=len(members), owners=owners)
