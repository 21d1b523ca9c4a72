"""A movement is one whatever its second: a spreadsheet saves times without seconds."""

from django.db import migrations, models
from django.db.models import Exists, OuterRef


def keep_the_first(apps, schema_editor):
    """Leave one row of each movement that was booked twice for its seconds.

    It keeps what the other one says that it undoes.
    """
    movements = apps.get_model("payments", "Movement").objects
    first = movements.filter(
        account=OuterRef("account"),
        number=OuterRef("number"),
        kind=OuterRef("kind"),
        amount=OuterRef("amount"),
        pk__lt=OuterRef("pk"),
    )
    twice = movements.filter(Exists(first))
    for one in list(twice.exclude(linked="")):
        movements.filter(
            account=one.account, number=one.number, kind=one.kind, amount=one.amount,
            linked="",
        ).update(linked=one.linked)
    while some := list(twice.values_list("pk", flat=True)[:1000]):
        movements.filter(pk__in=some).delete()


class Migration(migrations.Migration):

    dependencies = [
        ('payments', '0014_acts'),
    ]

    operations = [
        migrations.RunPython(keep_the_first, migrations.RunPython.noop),
        migrations.RemoveConstraint(
            model_name='movement',
            name='movement_is_booked_once',
        ),
        migrations.AddConstraint(
            model_name='movement',
            constraint=models.UniqueConstraint(fields=('account', 'number', 'kind', 'amount'), name='movement_is_booked_once'),
        ),
    ]
