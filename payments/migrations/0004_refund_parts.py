import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('payments', '0003_whose_money'),
    ]

    operations = [
        migrations.AddField(
            model_name='organisationrequest',
            name='about',
            field=models.ForeignKey(blank=True, help_text="The request whose outcome is asked for, not the receipt's.", null=True, on_delete=django.db.models.deletion.PROTECT, related_name='inquiries', to='payments.organisationrequest'),
        ),
        migrations.CreateModel(
            name='RefundPart',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount', models.DecimalField(decimal_places=2, max_digits=12)),
                ('refund', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='parts', to='payments.refund')),
                ('source', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='payments.allocation')),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('refund', 'source'), name='refund_takes_once_of_a_portion'), models.CheckConstraint(condition=models.Q(('amount__gt', 0)), name='refund_part_is_positive')],
            },
        ),
    ]
